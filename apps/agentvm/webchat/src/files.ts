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
  const { files } = (await rpc.call("os.list", { imageId: image, path })) as { files: Entry[] };
  const list = el("ul");
  for (const entry of files) list.append(el("li", {}, item(rpc, image, entry, fail)));
  if (files.length === 0) list.append(el("li", { class: "note" }, "Nothing here yet."));
  return list;
}

function item(rpc: Rpc, image: string, entry: Entry, fail: (error: Error) => void): HTMLElement {
  const { path } = entry;
  if (path === null || (entry.type !== "directory" && entry.type !== "file")) return el("span", {}, entry.name);
  if (entry.type === "file") {
    const size = el("small", {}, ` ${entry.size} B`);
    const load = () => download(rpc, image, path, entry.name).catch(fail);
    return el("button", { type: "button", class: "link", click: load }, entry.name, size);
  }
  const fold = el("details", {}, el("summary", {}, entry.name));
  fold.addEventListener("toggle", () => {
    fold.querySelector("ul")?.remove();
    if (fold.open) directory(rpc, image, path, fail).then((list) => fold.append(list), fail);
  });
  return fold;
}

async function download(rpc: Rpc, image: string, path: string, name: string): Promise<void> {
  const { content } = await rpc.call("os.read", { imageId: image, path });
  const url = URL.createObjectURL(new Blob([content]));
  el("a", { href: url, download: name }).click();
  URL.revokeObjectURL(url);
}
