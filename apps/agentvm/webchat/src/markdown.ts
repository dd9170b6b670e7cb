// What a model writes, as elements: the part of Markdown that models use. Nothing is read as HTML.

import { el } from "./dom";

/** How deep quotes are nested at most. What is deeper is shown as it is written. */
const DEEPEST = 8;

/** The blocks of a text, which may still be growing, inside so many quotes. */
export function markdown(text: string, depth = 0): Node[] {
  const blocks: Node[] = [];
  let lines = text.split("\n");
  while (lines.length > 0) {
    const [block, rest] = next(lines, depth);
    if (block) blocks.push(block);
    lines = rest;
  }
  return blocks;
}

const FENCE = /^\s*(```|~~~)\s*([\w+-]*)/;
const HEADING = /^(#{1,6})\s+(.*)$/;
const BULLET = /^\s*[-*+]\s+/;
const NUMBER = /^\s*\d+[.)]\s+/;
const QUOTE = /^\s*>\s?/;

/** The first block of these lines, and the lines behind it. */
function next(lines: string[], depth: number): [Node | undefined, string[]] {
  const first = lines[0]!;
  if (first.trim() === "") return [undefined, lines.slice(run(lines, (line) => line.trim() === ""))];
  const fence = FENCE.exec(first);
  if (fence) {
    const end = lines.findIndex((line, index) => index > 0 && line.trim() === fence[1]);
    const code = lines.slice(1, end < 0 ? undefined : end).join("\n");
    const attributes: Record<string, string> = { class: "code", tabindex: "0" };
    if (fence[2]) attributes["data-language"] = fence[2];
    return [el("pre", attributes, el("code", {}, code)), end < 0 ? [] : lines.slice(end + 1)];
  }
  const heading = HEADING.exec(first);
  if (heading) return [el("p", { class: "heading", role: "heading", "aria-level": String(heading[1]!.length + 2) }, ...inline(heading[2]!)), lines.slice(1)];
  for (const [mark, name] of [[BULLET, "ul"], [NUMBER, "ol"]] as const) {
    if (mark.test(first)) {
      const count = run(lines, (line) => mark.test(line) || /^\s{2,}\S/.test(line));
      const items: string[] = [];
      for (const line of lines.slice(0, count)) {
        if (mark.test(line)) items.push(line.replace(mark, ""));
        else items[items.length - 1] += ` ${line.trim()}`;
      }
      return [el(name, {}, ...items.map((item) => el("li", {}, ...inline(item)))), lines.slice(count)];
    }
  }
  if (QUOTE.test(first) && depth < DEEPEST) {
    const count = run(lines, (line) => QUOTE.test(line));
    const quoted = lines.slice(0, count).map((line) => line.replace(QUOTE, ""));
    return [el("blockquote", {}, ...markdown(quoted.join("\n"), depth + 1)), lines.slice(count)];
  }
  const count = Math.max(1, run(lines, (line) => line.trim() !== "" && ![FENCE, HEADING, BULLET, NUMBER, QUOTE].some((mark) => mark.test(line))));
  return [el("p", {}, ...inline(lines.slice(0, count).join("\n"))), lines.slice(count)];
}

/** How many of the first lines are so. */
function run(lines: string[], is: (line: string) => boolean): number {
  const end = lines.findIndex((line) => !is(line));
  return end < 0 ? lines.length : end;
}

const INLINE = /`([^`\n]+)`|\*\*([^*\n]+)\*\*|\*([^*\s][^*\n]*)\*|\[([^[\]\n]+)\]\((https?:\/\/[^\s()]+)\)/g;

function inline(text: string): Node[] {
  const nodes: Node[] = [];
  let from = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > from) nodes.push(document.createTextNode(text.slice(from, match.index)));
    const [whole, code, strong, weak, label, href] = match;
    if (code !== undefined) nodes.push(el("code", {}, code));
    else if (strong !== undefined) nodes.push(el("strong", {}, strong));
    else if (weak !== undefined) nodes.push(el("em", {}, weak));
    else nodes.push(el("a", { href: href!, rel: "noopener noreferrer", target: "_blank" }, label!));
    from = match.index + whole.length;
  }
  if (from < text.length) nodes.push(document.createTextNode(text.slice(from)));
  return nodes;
}
