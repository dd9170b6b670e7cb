import { Chat } from "./chat";
import { el } from "./dom";
import "./style.css";

const KEY = "agentvm.key";

const app = document.querySelector<HTMLDivElement>("#app")!;

/** Asks for a key. */
function signIn(complaint: string): void {
  sessionStorage.removeItem(KEY);
  const input = el("input", { type: "password", id: "key", autocomplete: "current-password", required: true });
  const submit = (event: Event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, input.value);
    chat(input.value);
  };
  app.replaceChildren(
    el(
      "main",
      { class: "sign-in" },
      el("h1", { class: "brand" }, "AgentVM"),
      el("p", { class: "note" }, "Agents that work for you, on this server."),
      el(
        "form",
        { submit },
        el("label", { for: "key" }, "Your key"),
        input,
        el("button", {}, "Sign in"),
        el("p", { class: "error", role: "alert" }, complaint),
      ),
    ),
  );
  input.focus();
}

function chat(key: string | undefined): void {
  const opened = new Chat(key, signIn);
  app.replaceChildren(opened.element);
}

chat(sessionStorage.getItem(KEY) ?? undefined);
