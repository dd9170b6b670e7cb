// The files of a conversation's workspace.

import { el } from "./dom";
import type { Rpc } from "./rpc";

interface Entry {
  name: string;
  path: string | null;
  type: string;
  size: number;
}

/** A directory's entries: directories open where they are, files are downloaded. */
export async function directory(rpc: Rpc, image: string, path: string, fail: (error: Error) => void): Promise<HTMLElement> {
  const list = el("ul", { class: "tree" });
  await fill(list, rpc, image, path, fail);
  if (list.children.length === 0) list.append(el("li", { class: "note" }, "Nothing here yet."));
  return list;
}

/** Adds a page of entries behind those that are there, and a way to the next. */
async function fill(list: HTMLElement, rpc: Rpc, image: string, path: string, fail: (error: Error) => void, after?: string): Promise<void> {
  const page = (await rpc.call("os.list", { imageId: image, path, after })) as { files: Entry[]; next?: string };
  const rank = (entry: Entry) => (entry.type === "directory" ? 0 : 1);
  const entries = [...page.files].sort((one, other) => rank(one) - rank(other));
  for (const entry of entries) list.append(el("li", {}, item(rpc, image, entry, fail)));
  if (page.next === undefined) return;
  const more = el("li", {}, el("button", { type: "button", class: "link", click: () => {
    more.remove();
    fill(list, rpc, image, path, fail, page.next).catch(fail);
  } }, "More …"));
  list.append(more);
}

function item(rpc: Rpc, image: string, entry: Entry, fail: (error: Error) => void): HTMLElement {
  const { path } = entry;
  if (path === null || (entry.type !== "directory" && entry.type !== "file")) return el("span", { class: "note" }, entry.name);
  if (entry.type === "file") {
    const load = () => download(rpc, image, path, entry.name).catch(fail);
    return el("button", { type: "button", class: "link file", title: `Download ${entry.name}`, click: load }, el("span", {}, entry.name), el("small", {}, size(entry.size)));
  }
  const fold = el("details", {}, el("summary", {}, entry.name));
  fold.addEventListener("toggle", () => {
    fold.querySelector("ul")?.remove();
    if (fold.open) directory(rpc, image, path, fail).then((list) => fold.append(list), fail);
  });
  return fold;
}

/** Bytes, as people read them. */
function size(bytes: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), units.length - 1);
  const amount = bytes / 1024 ** power;
  return `${power === 0 || amount >= 10 ? Math.round(amount) : amount.toFixed(1)} ${units[power]}`;
}

async function download(rpc: Rpc, image: string, path: string, name: string): Promise<void> {
  const { content, encoding } = await rpc.call("os.read", { imageId: image, path });
  const bytes = encoding === "base64" ? Uint8Array.from(atob(content), (digit) => digit.charCodeAt(0)) : content;
  const url = URL.createObjectURL(new Blob([bytes]));
  el("a", { href: url, download: name }).click();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
