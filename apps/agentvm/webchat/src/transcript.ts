// What was said, as elements: a message as it is stored, and the same message as it comes piece by piece.

import { el } from "./dom";
import { markdown } from "./markdown";
import type { AgentEvent } from "./rpc";

/** How near the end counts as being there, in pixels. */
const NEAR = 80;

/** The events of a message that is written piece by piece. */
const WRITTEN = ["message_start", "message_restarted", "text_delta", "thinking_delta", "tool_use_start", "tool_use_stop"];

export class Transcript {
  readonly element = el("div", { class: "transcript", role: "log", "aria-live": "polite", "aria-label": "Conversation", tabindex: "0" });
  /** Everything that is shown has the width of a line that reads well. */
  private readonly column = this.element.appendChild(el("div", { class: "column" }));
  /** The message that the model is writing. */
  private writing: HTMLElement | undefined;
  private text: { element: HTMLElement; source: string } | undefined;
  private thinking: HTMLElement | undefined;
  private drawn = 0;
  /** Whether what is written is a message that is shown as it is stored. */
  private isKnown = false;
  /** Whether whoever reads is at the end, and wants to stay there. */
  private isAtEnd = true;
  private readonly tools = new Map<string, HTMLDetailsElement>();
  private readonly shown = new Set<string>();
  private readonly waiting = el("p", { class: "waiting", "aria-hidden": "true" }, el("i"), el("i"), el("i"));

  constructor(private readonly decide: (approval: string, decision: "allow" | "deny") => void) {
    this.element.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.element;
      this.isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR;
    });
  }

  get isEmpty(): boolean {
    return this.shown.size === 0;
  }

  /** Shows that a turn goes on, or that it is over. */
  busy(is: boolean): void {
    this.element.setAttribute("aria-busy", String(is));
    if (is) this.column.append(this.waiting);
    else this.waiting.remove();
    this.follow();
  }

  /** Shows something in place of a conversation that has not begun. */
  greet(greeting: HTMLElement): void {
    if (this.isEmpty && this.column.children.length === 0) this.column.append(greeting);
  }

  /** To the end of what was said. */
  end(): void {
    this.element.scrollTop = this.element.scrollHeight;
  }

  /** Shows a stored message, once. */
  add(message: Record<string, any>): void {
    if (this.shown.has(message.id)) return;
    this.shown.add(message.id);
    this.column.querySelector(".greeting")?.remove();
    if (message.role === "user") {
      this.bubble("user", "You").append(el("p", {}, plain(message.content)));
    } else if (message.role === "assistant") {
      const bubble = this.writing ?? this.bubble("assistant", "Agent");
      // What somebody has opened while it was written stays open.
      const opened = [...bubble.querySelectorAll("details")].map((fold) => fold.open);
      this.close();
      bubble.replaceChildren(bubble.firstElementChild!);
      for (const part of message.content) this.part(bubble, part);
      bubble.querySelectorAll("details").forEach((fold, index) => (fold.open = opened[index] ?? false));
    } else if (message.role === "tool") {
      const output = message.toolResult.output;
      this.result(message.toolCallId, output, String(output.type).startsWith("error"));
    } else if (message.role === "error") {
      this.error(message.content);
    }
    this.follow();
  }

  /** Shows what happens. */
  tell(event: AgentEvent): void {
    const data = event.data;
    if (event.type === "message_start") this.isKnown = this.shown.has(data.messageId);
    if (this.isKnown && WRITTEN.includes(event.type)) return;
    switch (event.type) {
      case "user_message":
      case "assistant_message":
      case "tool_result_message":
      case "error_message":
        this.add(data);
        break;
      case "message_start":
        this.close();
        this.writing = this.bubble("assistant", "Agent");
        break;
      case "message_restarted":
        this.writing?.replaceChildren(this.writing.firstElementChild!);
        this.text = this.thinking = undefined;
        break;
      case "text_delta":
        this.thinking = undefined;
        this.text ??= { element: this.writer().appendChild(el("div", { class: "text" })), source: "" };
        this.text.source += data.text;
        this.draw();
        break;
      case "thinking_delta":
        this.text = undefined;
        this.thinking ??= this.fold(this.writer(), "Thinking");
        this.thinking.append(data.text);
        break;
      case "tool_use_start":
        this.text = this.thinking = undefined;
        this.call(this.writer(), data.toolCallId, data.toolName);
        break;
      case "tool_use_stop":
        this.input(data.toolCallId, data.input);
        break;
      case "tool_executing":
        // What is done already is told again to who comes back.
        if (this.tools.get(data.toolId)?.dataset.state === "planned") this.status(data.toolId, "running");
        break;
      case "approval_requested":
        this.ask(data);
        break;
      case "approval_answered":
        this.column.querySelector(`[data-approval="${CSS.escape(data.approvalId)}"]`)?.remove();
        break;
      case "conversation_interrupted":
        this.close();
        this.column.append(el("p", { class: "note" }, "Interrupted."));
        break;
      case "error_occurred":
        this.error(data.message);
        break;
      case "turn_response":
        this.close();
        this.column.querySelectorAll("[data-approval]").forEach((asked) => asked.remove());
        break;
    }
    this.follow();
  }

  /** Draws the text that grows, once for each picture that the browser shows. */
  private draw(): void {
    this.drawn ||= requestAnimationFrame(() => {
      this.drawn = 0;
      if (this.text) this.text.element.replaceChildren(...markdown(this.text.source));
      this.follow();
    });
  }

  /** Stays at the end for whoever is there, and keeps what happens last below what was said. */
  private follow(): void {
    if (this.waiting.isConnected && this.column.lastElementChild !== this.waiting) this.column.append(this.waiting);
    if (this.isAtEnd) this.end();
  }

  /** What was begun and never finished stays as far as it came, unless nothing came. */
  private close(): void {
    if (this.text) this.text.element.replaceChildren(...markdown(this.text.source));
    if (this.writing?.children.length === 1) this.writing.remove();
    this.writing = this.text = this.thinking = undefined;
  }

  private writer(): HTMLElement {
    this.writing ??= this.bubble("assistant", "Agent");
    return this.writing;
  }

  private bubble(kind: string, who: string): HTMLElement {
    return this.column.appendChild(el("article", { class: kind }, el("h3", { class: "who" }, who)));
  }

  private part(bubble: HTMLElement, part: Record<string, any>): void {
    if (part.type === "text") bubble.append(el("div", { class: "text" }, ...markdown(part.text)));
    else if (part.type === "thinking") this.fold(bubble, "Thinking").append(part.reasoning ?? part.text ?? "");
    else if (part.type === "tool-call") {
      this.call(bubble, part.id, part.name);
      this.input(part.id, part.input);
    }
  }

  private fold(bubble: HTMLElement, title: string): HTMLElement {
    const content = el("div", { class: "thought" });
    bubble.append(el("details", { class: "thinking" }, el("summary", {}, title), content));
    return content;
  }

  private call(bubble: HTMLElement, id: string, name: string): void {
    const summary = el("summary", {}, el("span", { class: "dot", "aria-hidden": "true" }), el("code", {}, name), el("span", { class: "gist" }), el("span", { class: "status" }, "planned"));
    const before = this.tools.get(id);
    const fold = bubble.appendChild(el("details", { class: "tool", "data-state": "planned" }, summary));
    this.tools.set(id, fold);
    // It was shown as it came: where it stands is kept.
    if (before?.dataset.state) this.status(id, before.dataset.state);
  }

  private input(id: string, input: unknown): void {
    const tool = this.tools.get(id);
    if (!tool || tool.querySelector(".input")) return;
    tool.querySelector(".gist")!.textContent = gist(input);
    tool.append(el("h4", {}, "Input"), el("pre", { class: "input", tabindex: "0" }, JSON.stringify(input, null, 2)));
  }

  private result(id: string, output: Record<string, any>, failed: boolean): void {
    const value = typeof output.value === "string" ? output.value : JSON.stringify(output.value ?? output, null, 2);
    this.tools.get(id)?.append(el("h4", {}, "Result"), el("pre", { class: "output", tabindex: "0" }, value));
    this.status(id, failed ? "failed" : "done");
  }

  private status(id: string, status: string): void {
    const tool = this.tools.get(id);
    const shown = tool?.querySelector(".status");
    if (!tool || !shown) return;
    shown.textContent = status;
    tool.dataset.state = status;
  }

  private ask(data: Record<string, any>): void {
    if (this.column.querySelector(`[data-approval="${CSS.escape(data.approvalId)}"]`)) return;
    const answer = (decision: "allow" | "deny") => () => this.decide(data.approvalId, decision);
    const asked = el(
      "section",
      { class: "approval", role: "group", "aria-label": "Permission", "data-approval": data.approvalId },
      el("p", {}, "May ", el("code", {}, data.toolName), " run? ", el("span", { class: "note" }, data.reason)),
      el("pre", { tabindex: "0" }, whole(data.input)),
      el("div", { class: "choice" }, el("button", { type: "button", click: answer("allow") }, "Allow"), el("button", { type: "button", class: "plain", click: answer("deny") }, "Deny")),
    );
    // Not focused: whoever is typing must not allow by accident.
    this.column.append(asked);
  }

  private error(text: string): void {
    const last = [...this.column.children].filter((child) => child !== this.waiting).at(-1);
    if (last?.className !== "error" || last.textContent !== text) {
      this.column.append(el("p", { class: "error", role: "alert" }, text));
    }
  }
}

/** The text of what a user said. */
function plain(content: string | Record<string, any>[]): string {
  if (typeof content === "string") return content;
  return content.map((part) => part.text ?? `[${part.type}]`).join("");
}

/** All of what a call is given: whoever allows it must have seen it, in its own order. */
function whole(input: unknown): string {
  const isCommand = typeof input === "object" && input !== null && Object.keys(input).join() === "command";
  const text = isCommand ? String((input as { command: unknown }).command) : JSON.stringify(input, null, 2);
  return text.replace(/[\u202a-\u202e\u2066-\u2069]/g, (turn) => `\\u{${turn.codePointAt(0)!.toString(16)}}`);
}

/** What a call is about, in a line, where its input has one thing that says so. */
function gist(input: unknown): string {
  if (typeof input !== "object" || input === null) return "";
  const { command, path, file_path, pattern } = input as Record<string, unknown>;
  const found = [command, file_path, path, pattern].find((value) => typeof value === "string");
  return typeof found === "string" ? found : "";
}
