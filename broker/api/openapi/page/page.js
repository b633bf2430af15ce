// Shows openapi.json as a page. Everything that comes from the document is put in as text, never as HTML.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
const byId = (id) => document.getElementById(id);
let described;

/** An element: make("a", { href: "#x" }, "text", element, …). */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** Text with `code` in it, as nodes. */
const inline = (text) => text.split(/`([^`]*)`/).map((part, index) => (index % 2 ? make("code", {}, part) : part));

const paragraphs = (text) => (text || "").split("\n\n").filter(Boolean).map((part) => make("p", {}, ...inline(part)));

/** What a `$ref` leads to. */
function resolved(object) {
  if (!object || !object.$ref) return object;
  return object.$ref.slice(2).split("/").reduce((at, key) => at[key], described);
}

const lastOf = (reference) => reference.split("/").pop();

/** A table whose roles hold on a phone too, where its cells are stacked. */
function table(heads, rows) {
  const row = (cells) => make("tr", { role: "row" }, ...cells);
  const cell = (nodes, index) =>
    make(index ? "td" : "th", index ? { role: "cell" } : { role: "rowheader", scope: "row" }, ...nodes);
  return make("table", { role: "table" },
    make("thead", { role: "rowgroup" }, row(heads.map((head) => make("th", { role: "columnheader", scope: "col" }, head)))),
    make("tbody", { role: "rowgroup" }, ...rows.map((cells) => row(cells.map(cell)))));
}

/** A schema in a line, as nodes; names of other schemas lead to them. */
function line(schema) {
  if (schema === true || !schema || Object.keys(schema).length === 0) return ["any JSON"];
  if (schema.$ref) return [make("a", { href: `#schema-${lastOf(schema.$ref)}` }, lastOf(schema.$ref))];
  const several = schema.oneOf || schema.anyOf || schema.allOf;
  if (several) return several.flatMap((each, index) => (index ? [schema.allOf ? " and " : " or ", ...line(each)] : line(each)));
  if ("const" in schema) return [make("code", {}, JSON.stringify(schema.const))];
  if (schema.enum) return schema.enum.flatMap((each, index) => [index ? " | " : "", make("code", {}, String(each))]);
  const kind = [].concat(schema.type || (schema.required ? "object" : "any JSON")).join(" or ");
  if (kind === "array") return ["list of ", ...(schema.items ? line(schema.items) : ["any JSON"])];
  const range = ["minimum", "maximum", "exclusiveMinimum"].filter((key) => key in schema)
    .map((key) => `${{ minimum: "≥", maximum: "≤", exclusiveMinimum: ">" }[key]} ${schema[key]}`);
  return [[kind + (schema.format ? ` (${schema.format})` : ""), ...range].join(", ")];
}

function memberTable(schema) {
  const required = new Set(schema.required || []);
  return table(["Member", "What it is"], Object.entries(schema.properties).map(([name, member]) => [
    [name, required.has(name) ? make("span", { class: "quiet" }, " required") : null],
    [make("p", { class: "quiet" }, ...line(member)), ...paragraphs(member.description)],
  ]));
}

function copyButton(text, what, shown) {
  const button = make("button", { type: "button", "aria-label": `Copy ${what}` }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(shown); // the clipboard is there on https and localhost only
      button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  return button;
}

function block(title, text, what) {
  const shown = make("pre", { tabindex: "0", role: "region", "aria-label": title }, make("code", {}, text));
  return [make("div", { class: "head" }, make("h4", {}, title), copyButton(text, what, shown)), shown];
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A request that can be pasted into a shell. */
function curl(method, path, operation, parameters) {
  const example = (parameter) => parameter.example ?? parameter.schema.default ?? parameter.name.toUpperCase();
  const inPath = Object.fromEntries(parameters.filter((each) => each.in === "path").map((each) => [each.name, each]));
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(example(inPath[name])).replaceAll("%3A", ":"));
  const named = parameters.filter((each) => each.in === "query" && each.required).map((each) => each.name);
  if (operation.operationId === "entities_query" || operation.operationId === "purge_purge") named.push("type");
  const query = named.map((name) => {
    const parameter = parameters.find((each) => each.name === name);
    return `${name}=${encodeURIComponent(name === "entity" ? "urn:ngsi-ld:Room:214" : example(parameter))}`;
  });
  const base = new URL(described.servers[0].url, location.href).href.replace(/\/$/, "");
  const parts = [`curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}${quoted(base + filled + (query.length ? `?${query.join("&")}` : ""))}`];
  if (operation.security.length === 1) parts.push('-H "Authorization: Bearer $TOKEN"');
  const body = operation.requestBody?.content["application/json"];
  if (body) {
    parts.push("-H 'Content-Type: application/json'");
    parts.push(`-d ${quoted(JSON.stringify(body.example ?? {}, null, 2))}`);
  }
  return parts.join(" \\\n  ");
}

/** All of an operation but its heading; made when it is opened. */
function detailsOf(method, path, operation) {
  const parameters = (operation.parameters || []).map(resolved);
  const nodes = paragraphs(operation.description);
  if (parameters.length) {
    nodes.push(make("h4", {}, "Parameters"), table(["Name", "Where", "What it is"], parameters.map((each) => [
      [each.name, each.required ? make("span", { class: "quiet" }, " required") : null],
      [make("span", { class: "quiet" }, each.in)],
      [make("p", { class: "quiet" }, ...line(each.schema), "default" in each.schema ? `, default ${JSON.stringify(each.schema.default)}` : ""),
        ...paragraphs(each.description),
        each.example === undefined ? null : make("p", {}, "For example ", make("code", {}, String(each.example)))],
    ])));
  }
  if (operation.requestBody) {
    const content = operation.requestBody.content;
    nodes.push(make("h4", {}, "Body"), make("p", {}, ...line(Object.values(content)[0].schema), ", as ", Object.keys(content).join(", ")));
  }
  nodes.push(make("h4", {}, "Answers"), table(["Status", "What it means"], Object.entries(operation.responses).map(([status, answer]) => {
    const kinds = Object.entries(answer.content || {});
    const headers = Object.keys(answer.headers || {});
    return [[status], [
      make("p", {}, answer.description),
      ...(kinds.length ? [make("p", { class: "quiet" }, ...line(kinds[0][1].schema), `, as ${kinds.map(([kind]) => kind).join(", ")}`)] : []),
      headers.length ? make("p", { class: "quiet" }, `With ${headers.join(", ")}`) : null,
    ]];
  })));
  nodes.push(...block("With curl", curl(method, path, operation, parameters), "the curl command"));
  const answers = Object.entries(operation.responses).filter(([status]) => status < "300").map(([, answer]) => answer.content?.["application/json"]);
  const answered = answers.find((content) => content?.example !== undefined);
  if (answered) nodes.push(...block("An answer", JSON.stringify(answered.example, null, 2), "the answer"));
  return nodes;
}

/** An entry that makes its content when it is first opened. */
function entry(id, summary, content) {
  const inside = make("div");
  const element = make("details", { id }, summary, inside);
  element.addEventListener("toggle", () => {
    if (element.open && !inside.hasChildNodes()) inside.append(...content());
  });
  return element;
}

function operationEntry(method, path, operation) {
  const summary = make("summary", {},
    make("span", { class: `badge ${method}` }, method.toUpperCase()),
    make("h3", {}, ...path.split("/").flatMap((part, index) => (index ? ["/", make("wbr"), part] : [part]))),
    make("p", {}, ...inline(operation.summary)));
  const element = entry(operation.operationId, summary, () => detailsOf(method, path, operation));
  const names = (operation.parameters || []).map((each) => resolved(each).name);
  element.dataset.text = [method, path, operation.summary, operation.description, ...names].join(" ").toLowerCase();
  return element;
}

function schemaEntry(name, schema) {
  const summary = make("summary", { class: "plain" }, make("h3", {}, name), make("p", {}, (schema.description || "").split(". ")[0]));
  const element = entry(`schema-${name}`, summary, () => [
    ...paragraphs(schema.description),
    schema.properties ? memberTable(schema) : make("p", {}, ...line({ ...schema, description: undefined })),
    ...(schema.examples ? block("An example", JSON.stringify(schema.examples[0], null, 2), "the example") : []),
  ].filter(Boolean));
  element.dataset.text = `schema ${name} ${Object.keys(schema.properties || {}).join(" ")}`.toLowerCase();
  return element;
}

function section(id, title, description, entries) {
  return make("section", { id, "aria-labelledby": `${id}-title` },
    make("h2", { id: `${id}-title` }, title), make("p", {}, description), ...entries);
}

function show() {
  byId("version").textContent = described.info.version;
  byId("about").append(...paragraphs(described.info.description));
  const sections = described.tags.map((tag, index) => {
    const entries = Object.entries(described.paths).flatMap(([path, item]) => METHODS
      .filter((method) => item[method]?.tags.includes(tag.name))
      .map((method) => operationEntry(method, path, item[method])));
    return section(`group-${index}`, tag.name, tag.description, entries);
  });
  const names = Object.keys(described.components.schemas).sort();
  sections.push(section("schemas", "Schemas", "What bodies are made of.", names.map((name) => schemaEntry(name, described.components.schemas[name]))));
  byId("operations").replaceChildren(...sections);
  byId("groups").append(make("ul", {}, ...sections.map((each) => make("li", {},
    make("a", { href: `#${each.id}` }, each.querySelector("h2").textContent,
      make("span", {}, String(each.querySelectorAll("details").length)))))));
}

function search() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const group of document.querySelectorAll("section")) {
    let here = 0;
    for (const each of group.querySelectorAll("details")) {
      each.hidden = !words.every((word) => each.dataset.text.includes(word));
      if (!each.hidden) here += 1;
    }
    group.hidden = here === 0;
    count += here;
  }
  byId("about").hidden = words.length > 0;
  byId("found").textContent = words.length ? `${count} found` : "";
}

/** Open what the address names. */
function follow() {
  const target = location.hash && byId(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  if (target.hidden || target.closest("[hidden]")) {
    byId("search").value = "";
    search();
  }
  if (target instanceof HTMLDetailsElement) target.open = true;
  target.scrollIntoView();
}

async function start() {
  try {
    const answer = await fetch(document.querySelector("link[rel=service-desc]").href);
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    described = await answer.json();
    show();
  } catch (error) {
    byId("operations").replaceChildren(make("p", { role: "alert" }, `The description could not be loaded (${error.message}). Reload the page to try again.`));
    return;
  }
  byId("search").addEventListener("input", search);
  addEventListener("hashchange", follow);
  search();
  follow();
}

start();
