/** The same client as code that runs: the very files that the project's tests start. */
import { element, icon, need, setText } from "../base/dom.js";
import { notify } from "./notices.js";

/** @typedef {{name: string, file: string | null, run: (host: string, port: string, command: string) => string}} Example */

/** @type {readonly Example[]} */
export const EXAMPLES = [
  { name: "nc", file: null, run: (host, port, command) => `echo ${command} | nc -u ${host} ${port}` },
  { name: "Python", file: "client.py", run: (host, port) => `python client.py ${host} ${port}` },
  { name: "Node", file: "client.mjs", run: (host, port) => `node client.mjs ${host} ${port}` },
  { name: "C", file: "client.c", run: (host, port) => `cc -o client client.c && ./client ${host} ${port}` },
];

/** `[::1]:12345` or `127.0.0.1:12345` in two. @param {string} address @returns {[host: string, port: string]} */
export function splitAddress(address) {
  const [, host = address, port = ""] = /^(.*):(\d+)$/.exec(address) ?? [];
  return [host.replace(/^\[|\]$/g, ""), port];
}

/** @param {string} text */
export function copy(text) {
  const refused = () => notify("This browser does not allow copying: select the text instead");
  if (!navigator.clipboard) refused();
  else navigator.clipboard.writeText(text).then(() => notify("Copied"), refused);
}

/** @param {string} label @param {() => string} text */
function copyButton(label, text) {
  const button = element("button", { type: "button", class: "quiet", "aria-label": label }, icon("copy"));
  button.addEventListener("click", () => copy(text()));
  return button;
}

export class CodePanel {
  #root = need("examples", HTMLElement);
  #parts = EXAMPLES.map((example) => {
    const command = element("code");
    const listing = element("code");
    const part = element("section", { class: "example" }, element("h3", {}, example.name),
      element("p", { class: "command" }, command, copyButton(`Copy the ${example.name} command`, () => command.textContent ?? "")));
    if (example.file) {
      const pre = element("pre", { tabindex: "0", "aria-label": example.file }, listing);
      part.append(element("div", { class: "listing" }, element("span", { class: "hint" }, example.file), copyButton(`Copy ${example.file}`, () => listing.textContent ?? ""), pre));
    }
    this.#root.append(part);
    return { example, command, listing };
  });
  #fetched = false;

  /** @param {string} target HOST:PORT @param {number | null} rate_hz null where the server chose */
  show(target, rate_hz) {
    const [host, port] = splitAddress(target);
    const command = rate_hz === null ? "connect" : `connect rate_hz=${rate_hz}`;
    for (const { example, command: node } of this.#parts) setText(node, example.run(host, port, command));
    if (!this.#fetched) void this.#fetch();
  }

  async #fetch() {
    this.#fetched = true;
    for (const { example, listing } of this.#parts) {
      if (!example.file) continue;
      try {
        const answer = await fetch(`examples/${example.file}`);
        setText(listing, answer.ok ? await answer.text() : "not found");
      } catch {
        this.#fetched = false;
        setText(listing, "the server does not answer");
      }
    }
  }
}

/** The command that joins this server, wherever the page shows it. @param {string} udp where the server listens */
export function showJoin(udp) {
  const [host, port] = splitAddress(udp);
  const reached = ["0.0.0.0", "::"].includes(host) ? location.hostname : host;
  for (const node of document.querySelectorAll("[data-nc]")) setText(node, `echo connect | nc -u ${reached} ${port}`);
}

/** The buttons beside such commands. */
export function followCopies() {
  for (const button of document.querySelectorAll("button.copy")) {
    button.addEventListener("click", () => copy(button.parentElement?.querySelector("code")?.textContent ?? ""));
  }
}
