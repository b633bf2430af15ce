// What a script is run by: it sees the language, Buffer, atob, btoa and console, and keeps nothing from one call to the next.
//
// The script's text is the body of a function that is called anew each time, so its own variables begin anew. What is
// shared, the built-in objects, is frozen. Variables it never declared land on the global object, and are removed.
// `frozen` is false for a script that extends built-in objects or finds its functions on the global object: it is run as a
// script of a page is, and its context is used once.
(function (makeBuffer, frozen, mostCharacters) {
  "use strict";
  const global = globalThis;
  const { parse, stringify } = JSON;
  const { ownKeys, deleteProperty, getPrototypeOf, apply } = Reflect;
  const { freeze, defineProperty, getOwnPropertyDescriptor } = Object;
  const { isFinite } = Number;
  const { isArray } = Array;
  const Text = String;
  const Day = Date;
  const evaluate = (0, eval);
  const slice = String.prototype.slice;
  const BigNumber = BigInt;
  const join = Array.prototype.join;
  // A long text put together by + may be a rope, which the binding does not know.
  const joined = (first, second) => apply(join, [first, second], [""]);

  // --- what there is ---

  for (const name of ["eval", "WeakRef", "FinalizationRegistry", "SharedArrayBuffer", "Atomics", "performance",
    "queueMicrotask", "Promise", "DOMException", "DisposableStack", "AsyncDisposableStack", "SuppressedError"]) {
    deleteProperty(global, name);
  }
  const samples = [function () {}, function* () {}, async function () {}, async function* () {}];
  const refused = function Function() {
    throw new TypeError("A script cannot make functions of texts.");
  };
  refused.prototype = Function.prototype;
  for (const sample of samples) {
    defineProperty(getPrototypeOf(sample), "constructor", { value: refused, writable: false, configurable: false });
  }
  global.Function = refused;
  global.Buffer = makeBuffer();
  const quiet = function () {};
  global.console = { log: quiet, info: quiet, warn: quiet, error: quiet, debug: quiet, trace: quiet, assert: quiet };
  global.global = global;
  const offered = freeze({ buffer: freeze({ Buffer: global.Buffer }) });
  const require = function require(name) {
    const plain = Text(name).replace(/^node:/, "");
    if (!Object.hasOwn(offered, plain)) throw new Error("There is no module '" + slice.call(plain, 0, 60) + "'.");
    return offered[plain];
  };

  freeze(require);

  // --- nothing of it can be changed ---

  // A frozen built-in property would hide assignments to objects that inherit it; so those that scripts assign give way.
  function givesWay(target, key) {
    const found = getOwnPropertyDescriptor(target, key);
    if (found === undefined || !("value" in found) || !found.configurable) return;
    const value = found.value;
    defineProperty(target, key, {
      get: freeze(function () {
        return value;
      }),
      set: freeze(function (given) {
        if (this === target || this === null || this === undefined) throw new TypeError("Built-in objects are frozen.");
        defineProperty(this, key, { value: given, writable: true, enumerable: true, configurable: true });
      }),
      enumerable: false,
      configurable: false,
    });
  }
  const errors = [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError, InternalError,
    AggregateError];
  // What turns an error that ends a call into text must be the engine's own, whatever a script does to built-in objects.
  const asText = Error.prototype.toString;
  const stack = getOwnPropertyDescriptor(Error.prototype, "stack").get;
  for (const kind of errors) {
    const proto = kind.prototype;
    for (const [key, value] of [["toString", asText], [Symbol.toPrimitive, undefined],
      ["valueOf", Object.prototype.valueOf], ["name", kind.name], ["message", ""]]) {
      defineProperty(proto, key, { value, writable: false, enumerable: false, configurable: true });
    }
    for (const key of ["name", "message", "toString"]) givesWay(proto, key);
  }
  for (const key of ["prepareStackTrace", "stackTraceLimit", "captureStackTrace"]) deleteProperty(Error, key);
  const done = new Set();
  function freezeAll(first) {
    const waiting = [first];
    while (waiting.length) {
      const target = waiting.pop();
      if (target === null || (typeof target !== "object" && typeof target !== "function") || done.has(target)) continue;
      done.add(target);
      for (const key of ownKeys(target)) {
        const found = getOwnPropertyDescriptor(target, key);
        if ("value" in found) waiting.push(found.value);
        else waiting.push(found.get, found.set);
      }
      waiting.push(getPrototypeOf(target));
      if (target !== global) freeze(target);
    }
  }
  if (frozen) {
    for (const key of ["toString", "toLocaleString", "valueOf", "constructor", "hasOwnProperty"]) {
      givesWay(Object.prototype, key);
    }
    const iterators = [[][Symbol.iterator](), ""[Symbol.iterator](), new Map().entries(), new Set().values(),
      "".matchAll(/a/g), samples[1](), samples[3](), samples[2](), [].values().map(quiet), Iterator.from({ next: quiet })];
    try {
      atob("*");
    } catch (error) {
      iterators.push(error);
    }
    for (const each of [...samples, ...iterators]) freezeAll(getPrototypeOf(each));
    freezeAll(global);
    for (const key of ownKeys(global)) {
      const found = getOwnPropertyDescriptor(global, key);
      if (found.configurable && "value" in found) {
        defineProperty(global, key, { writable: false, enumerable: false, configurable: false });
      }
    }
  } else {
    for (const kind of errors) {
      freeze(kind);
      freeze(kind.prototype);
    }
  }
  const known = new Set(ownKeys(global));
  const knownHas = known.has.bind(known);
  const count = known.size;

  /** Remove what the script left on the global object; false when something stays. */
  function clean() {
    const names = ownKeys(global);
    if (names.length === count) return true;
    let all = true;
    for (let at = 0; at < names.length; at++) {
      if (!knownHas(names[at]) && !deleteProperty(global, names[at])) all = false;
    }
    return all;
  }

  // --- the script ---

  let text = "";
  const made = { __proto__: null };
  const NAMES = ["decodeUplink", "Decode", "Decoder", "encodeDownlink", "Encode", "Encoder", "decodeDownlink",
    "normalizeUplink"];

  function compiled(tail) {
    return evaluate("(function(module,exports,require){return(function(){" + text + "\n;return " + tail + "})()})");
  }
  function begun(make) {
    const module = { exports: {} };
    const found = make(module, module.exports, require);
    return [found, module.exports];
  }
  function functionOf(name) {
    if (!frozen) return made[name];
    if (made[name] === undefined) made[name] = compiled("typeof " + name + "==='function'?" + name + ":void 0");
    const [found, exported] = begun(made[name]);
    return found !== undefined ? found : exported[name];
  }
  function allFunctions() {
    const tail = "[" + NAMES.map((name) => "typeof " + name + "==='function'?" + name + ":void 0").join(",") + "]";
    if (frozen) return begun(compiled(tail));
    global.module = { exports: {} };
    global.exports = global.module.exports;
    global.require = require;
    return [evaluate(text + "\n;" + tail), global.module.exports];
  }

  function said(thrown) {
    try {
      if (thrown !== null && typeof thrown === "object" && "message" in thrown) {
        const name = thrown.name === undefined ? "" : Text(thrown.name) + ": ";
        const place = /:(\d+):\d+\)?\s*$/m.exec(Text(apply(stack, thrown, [])));
        return slice.call(name + Text(thrown.message) + (place ? " (line " + place[1] + ")" : ""), 0, 500);
      }
      return slice.call(typeof thrown === "object" ? stringify(thrown) : Text(thrown), 0, 500);
    } catch (error) {
      return "something that cannot be shown";
    }
  }

  let odd = false;
  function plain(key, value) {
    if (typeof value === "number") {
      if (isFinite(value)) return value;
      odd = true;
      return "\u0000" + value;
    }
    if (typeof value === "bigint") {
      odd = true;
      // Beyond 64 bits it is no number of ours, and its text may be long.
      return "\u0000" + (BigNumber.asIntN(65, value) === value ? value : value < 0 ? "-Infinity" : "Infinity");
    }
    return value;
  }

  /** Which of NAMES the script has: comma-separated. */
  function load(source) {
    try {
      text = source;
      const [found, exported] = allFunctions();
      const names = NAMES.filter((name, at) => {
        const one = found[at] || (exported !== null && exported !== undefined ? exported[name] : undefined);
        if (typeof one !== "function") return false;
        if (!frozen) made[name] = one;
        return true;
      });
      return "o" + join.call(names, ",");
    } catch (error) {
      return joined("e", said(error));
    } finally {
      if (frozen) clean();
    }
  }

  /** Call a function of the script. The answer's first letter: o JSON, x JSON with odd numbers, n nothing, l too long,
   * e an error; after a '!': and the context is spoiled. */
  function run(name, style, input, time) {
    let answer;
    try {
      const given = parse(input);
      if (time !== 0) given.recvTime = new Day(time);
      const called = functionOf(name);
      const out =
        style === 0 ? called(given)
        : style === 1 ? called(given.fPort, given.bytes, given.variables)
        : style === 2 ? called(given.bytes, given.fPort)
        : style === 3 ? called(given.fPort, given.data, given.variables)
        : called(given.data, given.fPort);
      if (out !== null && typeof out === "object" && typeof out.then === "function") {
        throw new Error("it answers with a promise, which is not waited for");
      }
      odd = false;
      const made = stringify(out, plain);
      if (made === undefined) answer = "n";
      else if (made.length > mostCharacters) answer = joined("l", made.length);
      else answer = joined(odd ? "x" : "o", made);
    } catch (error) {
      answer = joined("e", said(error));
    }
    return frozen && clean() ? answer : joined("!", answer);
  }

  return (name, style, input, time) => (name === "" ? load(input) : run(name, style, input, time));
})
