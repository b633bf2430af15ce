// Node's Buffer, as far as payload codecs use it: a view of bytes that reads, writes and turns into text.
(function () {
  "use strict";
  const hexDigits = "0123456789abcdef";
  const fromText = {
    utf8(text) {
      const plain = unescape(encodeURIComponent(text));
      return fromText.latin1(plain);
    },
    latin1(text) {
      const bytes = new Buffer(text.length);
      for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
      return bytes;
    },
    hex(text) {
      const pairs = /^(?:[0-9a-f]{2})*/i.exec(text)[0];
      const bytes = new Buffer(pairs.length / 2);
      for (let at = 0; at < bytes.length; at++) bytes[at] = parseInt(pairs.substr(2 * at, 2), 16);
      return bytes;
    },
    base64(text) {
      let plain = text.replace(/-/g, "+").replace(/_/g, "/").replace(/[^A-Za-z0-9+/]/g, "");
      if (plain.length % 4 === 1) plain = plain.slice(0, -1);
      return fromText.latin1(atob(plain));
    },
  };
  const toText = {
    utf8(bytes) {
      const plain = toText.latin1(bytes);
      try {
        return decodeURIComponent(escape(plain));
      } catch (error) {
        return plain.replace(/[\x80-\xff]/g, "\ufffd");
      }
    },
    latin1(bytes) {
      let text = "";
      for (let at = 0; at < bytes.length; at++) text += String.fromCharCode(bytes[at]);
      return text;
    },
    ascii(bytes) {
      let text = "";
      for (let at = 0; at < bytes.length; at++) text += String.fromCharCode(bytes[at] & 0x7f);
      return text;
    },
    hex(bytes) {
      let text = "";
      for (let at = 0; at < bytes.length; at++) text += hexDigits[bytes[at] >> 4] + hexDigits[bytes[at] & 15];
      return text;
    },
    base64(bytes) {
      return btoa(toText.latin1(bytes));
    },
    base64url(bytes) {
      return toText.base64(bytes).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
    },
  };
  fromText.ascii = fromText.latin1;
  fromText.base64url = fromText.base64;

  function encodingOf(table, name) {
    let plain = name === undefined || name === null ? "utf8" : String(name).toLowerCase();
    if (plain === "utf-8") plain = "utf8";
    if (plain === "binary") plain = "latin1";
    if (!Object.hasOwn(table, plain)) throw new TypeError("Unknown encoding: " + name);
    return table[plain];
  }

  function viewOf(bytes, offset, size) {
    offset = offset === undefined ? 0 : offset;
    if (typeof offset !== "number") throw new TypeError('The "offset" argument must be of type number.');
    if (!Number.isInteger(offset) || offset < 0 || offset + size > bytes.length) {
      throw new RangeError("Attempt to access memory outside buffer bounds");
    }
    return new DataView(bytes.buffer, bytes.byteOffset + offset, size);
  }

  class Buffer extends Uint8Array {
    static from(source, second, length) {
      if (typeof source === "string") return encodingOf(fromText, second)(source);
      if (source instanceof ArrayBuffer) return new Buffer(source, second, length);
      if (source !== null && typeof source === "object") {
        if (source.type === "Buffer" && Array.isArray(source.data)) source = source.data;
        const bytes = new Buffer(source.length >>> 0);
        for (let at = 0; at < bytes.length; at++) bytes[at] = source[at];
        return bytes;
      }
      throw new TypeError("The first argument must be a string, a Buffer, an ArrayBuffer or an array.");
    }
    static alloc(size, fill) {
      const bytes = new Buffer(size);
      return fill === undefined ? bytes : bytes.fill(fill);
    }
    static allocUnsafe(size) {
      return new Buffer(size);
    }
    static isBuffer(value) {
      return value instanceof Buffer;
    }
    static byteLength(text, encoding) {
      return typeof text === "string" ? Buffer.from(text, encoding).length : text.byteLength;
    }
    static concat(list, total) {
      let length = 0;
      for (const each of list) length += each.length;
      const bytes = new Buffer(total === undefined ? length : total);
      let at = 0;
      for (const each of list) {
        for (let index = 0; index < each.length && at < bytes.length; index++) bytes[at++] = each[index];
      }
      return bytes;
    }
    toString(encoding, start, end) {
      return encodingOf(toText, encoding)(super.subarray(start === undefined ? 0 : start, end));
    }
    toJSON() {
      return { type: "Buffer", data: Array.from(this) };
    }
    slice(start, end) {
      return this.subarray(start, end);
    }
    equals(other) {
      return this.length === other.length && this.every((byte, at) => byte === other[at]);
    }
    copy(target, targetStart, start, end) {
      const part = super.subarray(start === undefined ? 0 : start, end);
      const to = targetStart === undefined ? 0 : targetStart;
      const count = Math.max(0, Math.min(part.length, target.length - to));
      for (let at = 0; at < count; at++) target[to + at] = part[at];
      return count;
    }
    write(text, offset, length, encoding) {
      if (typeof offset === "string") [offset, encoding] = [0, offset];
      else if (typeof length === "string") [length, encoding] = [undefined, length];
      const bytes = Buffer.from(text, encoding);
      return (length === undefined ? bytes : bytes.subarray(0, length)).copy(this, offset);
    }
  }

  function method(name, size, read, write) {
    const alias = name.replace("UInt", "Uint");
    const reading = function (offset) {
      return read(viewOf(this, offset, size));
    };
    const writing = function (value, offset) {
      write(viewOf(this, offset, size), value);
      return (offset === undefined ? 0 : offset) + size;
    };
    for (const each of [name, alias]) {
      Object.defineProperty(Buffer.prototype, "read" + each, { value: reading, writable: true, configurable: true });
      Object.defineProperty(Buffer.prototype, "write" + each, { value: writing, writable: true, configurable: true });
    }
  }
  for (const [name, kind, size] of [
    ["UInt8", "Uint8", 1], ["Int8", "Int8", 1], ["UInt16", "Uint16", 2], ["Int16", "Int16", 2], ["UInt32", "Uint32", 4],
    ["Int32", "Int32", 4], ["Float", "Float32", 4], ["Double", "Float64", 8], ["BigInt64", "BigInt64", 8],
    ["BigUInt64", "BigUint64", 8],
  ]) {
    const endings = size === 1 ? [["", false]] : [["BE", false], ["LE", true]];
    for (const [ending, little] of endings) {
      method(name + ending, size, (view) => view["get" + kind](0, little),
        (view, value) => view["set" + kind](0, value, little));
    }
  }
  // Integers of 1 to 6 bytes.
  function whole(signed, little) {
    return function (offset, size) {
      const view = viewOf(this, offset, size);
      let value = 0;
      for (let at = 0; at < size; at++) value = value * 256 + view.getUint8(little ? size - 1 - at : at);
      return signed && value >= 2 ** (8 * size - 1) ? value - 2 ** (8 * size) : value;
    };
  }
  function wholeWriter(little) {
    return function (value, offset, size) {
      const view = viewOf(this, offset, size);
      let rest = value < 0 ? value + 2 ** (8 * size) : value;
      for (let at = 0; at < size; at++) {
        view.setUint8(little ? at : size - 1 - at, rest % 256);
        rest = Math.floor(rest / 256);
      }
      return offset + size;
    };
  }
  for (const [ending, little] of [["BE", false], ["LE", true]]) {
    for (const [name, signed] of [["UInt", false], ["Uint", false], ["Int", true]]) {
      const set = (key, value) =>
        Object.defineProperty(Buffer.prototype, key, { value, writable: true, configurable: true });
      set("read" + name + ending, whole(signed, little));
      set("write" + name + ending, wholeWriter(little));
    }
  }
  return Buffer;
})
