// What was said, as elements: a message as it is stored, and the same message as it comes piece by piece.

import { el } from "./dom";
import type { AgentEvent } from "./rpc";

export class Transcript {
  readonly element = el("div", { class: "transcript", role: "log", "aria-live": "polite", "aria-label": "Conversation" });
  /** The message that the model is writing. */
  private writing: HTMLElement | undefined;
  private text: HTMLElement | undefined;
  private thinking: HTMLElement | undefined;
  private readonly tools = new Map<string, HTMLDetailsElement>();
  private readonly shown = new Set<string>();

  constructor(private readonly decide: (approval: string, decision: "allow" | "deny") => void) {}

  /** Shows a stored message, once. */
  add(message: Record<string, any>): void {
    if (this.shown.has(message.id)) return;
    this.shown.add(message.id);
    if (message.role === "user") {
      this.bubble("user", "You").append(el("p", {}, plain(message.content)));
    } else if (message.role === "assistant") {
      const bubble = this.writing ?? this.bubble("assistant", "Agent");
      this.end();
      bubble.replaceChildren(...[...bubble.children].slice(0, 1));
      for (const part of message.content) this.part(bubble, part);
    } else if (message.role === "tool") {
      const output = message.toolResult.output;
      this.result(message.toolCallId, output, String(output.type).startsWith("error"));
    } else if (message.role === "error") {
      this.error(message.content);
    }
  }

  /** Shows what happens. */
  tell(event: AgentEvent): void {
    const data = event.data;
    switch (event.type) {
      case "user_message":
      case "assistant_message":
      case "tool_result_message":
      case "error_message":
        this.add(data);
        break;
      case "message_start":
        this.end();
        this.writing = this.bubble("assistant", "Agent");
        break;
      case "message_restarted":
        this.writing?.replaceChildren(...[...this.writing.children].slice(0, 1));
        this.text = this.thinking = undefined;
        break;
      case "text_delta":
        this.thinking = undefined;
        this.text ??= this.writer().appendChild(el("p"));
        this.text.append(data.text);
        break;
      case "thinking_delta":
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
        this.status(data.toolId, "running");
        break;
      case "approval_requested":
        this.ask(data);
        break;
      case "approval_answered":
        this.element.querySelector(`[data-approval="${CSS.escape(data.approvalId)}"]`)?.remove();
        break;
      case "conversation_interrupted":
        this.note("Interrupted.");
        this.end();
        break;
      case "error_occurred":
        this.error(data.message);
        break;
      case "turn_response":
        this.end();
        this.element.querySelectorAll("[data-approval]").forEach((asked) => asked.remove());
        break;
    }
    this.element.scrollTop = this.element.scrollHeight;
  }

  private end(): void {
    // What was begun and never finished stays as far as it came, unless nothing came.
    if (this.writing?.children.length === 1) this.writing.remove();
    this.writing = this.text = this.thinking = undefined;
  }

  private writer(): HTMLElement {
    this.writing ??= this.bubble("assistant", "Agent");
    return this.writing;
  }

  private bubble(kind: string, who: string): HTMLElement {
    return this.element.appendChild(el("article", { class: kind }, el("h3", {}, who)));
  }

  private part(bubble: HTMLElement, part: Record<string, any>): void {
    if (part.type === "text") bubble.append(el("p", {}, part.text));
    else if (part.type === "thinking") this.fold(bubble, "Thinking").append(part.reasoning ?? part.text ?? "");
    else if (part.type === "tool-call") {
      this.call(bubble, part.id, part.name);
      this.input(part.id, part.input);
    }
  }

  private fold(bubble: HTMLElement, title: string): HTMLElement {
    const content = el("pre");
    bubble.append(el("details", {}, el("summary", {}, title), content));
    return content;
  }

  private call(bubble: HTMLElement, id: string, name: string): void {
    const status = el("span", { class: "status" }, "planned");
    const fold = el("details", { class: "tool" }, el("summary", {}, el("code", {}, name), " ", status));
    this.tools.set(id, bubble.appendChild(fold));
  }

  private input(id: string, input: unknown): void {
    const tool = this.tools.get(id);
    if (tool && !tool.querySelector(".input")) {
      tool.append(el("pre", { class: "input" }, JSON.stringify(input, null, 2)));
    }
  }

  private result(id: string, output: Record<string, any>, failed: boolean): void {
    const value = typeof output.value === "string" ? output.value : JSON.stringify(output.value ?? output, null, 2);
    this.tools.get(id)?.append(el("pre", { class: "output" }, value));
    this.status(id, failed ? "failed" : "done");
  }

  private status(id: string, status: string): void {
    const shown = this.tools.get(id)?.querySelector(".status");
    if (shown) shown.textContent = status;
  }

  private ask(data: Record<string, any>): void {
    const answer = (decision: "allow" | "deny") => () => this.decide(data.approvalId, decision);
    const asked = el(
      "section",
      { class: "approval", role: "group", "aria-label": "Permission", "data-approval": data.approvalId },
      el("p", {}, "May ", el("code", {}, data.toolName), " run? ", data.reason),
      el("pre", {}, JSON.stringify(data.input, null, 2)),
      el("button", { type: "button", click: answer("allow") }, "Allow"),
      el("button", { type: "button", class: "plain", click: answer("deny") }, "Deny"),
    );
    // Not focused: whoever is typing must not allow by accident.
    this.element.append(asked);
  }

  private note(text: string): void {
    this.element.append(el("p", { class: "note" }, text));
  }

  private error(text: string): void {
    const last = this.element.lastElementChild;
    if (last?.className !== "error" || last.textContent !== text) {
      this.element.append(el("p", { class: "error", role: "alert" }, text));
    }
  }
}

/** The text of what a user said. */
function plain(content: string | Record<string, any>[]): string {
  if (typeof content === "string") return content;
  return content.map((part) => part.text ?? `[${part.type}]`).join("");
}
