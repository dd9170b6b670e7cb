import { el } from "./dom";
import { directory } from "./files";
import { Rpc, type AgentEvent, type State } from "./rpc";
import "./style.css";
import { Transcript } from "./transcript";

const KEY = "agentvm.key";
const CONTAINER = "chat";

/** Whether there is room for the lists beside the conversation. */
const isWide = matchMedia("(min-width: 45rem)");

interface Image {
  imageId: string;
  sessionId: string;
  name: string;
}

const app = document.querySelector<HTMLDivElement>("#app")!;

/** Asks for a key. */
function signIn(complaint: string): void {
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
      el("h1", {}, "AgentVM"),
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

/** The chat itself. */
function chat(key: string | undefined): void {
  let images: Image[] = [];
  let open: { image: Image; transcript: Transcript } | undefined;
  let begun = false;

  const status = el("span", { class: "status", role: "status" });
  const list = el("ul");
  const place = el("section", { class: "place" });
  const files = el("details", { class: "files" }, el("summary", {}, "Files"));
  const message = el("textarea", { rows: "2", "aria-label": "Message", placeholder: "Say something" });
  const send = el("button", {}, "Send");
  const stop = el("button", { type: "button", class: "plain", click: () => interrupt() }, "Stop");
  const form = el("form", { class: "say", submit }, message, send, stop);
  const menu = el("details", { class: "menu", open: isWide.matches });
  const create = el("button", { type: "button", click: () => begin().catch(fail) }, "New conversation");
  menu.append(el("summary", {}, "Conversations"), create, list);
  const complaint = el("p", { class: "error", role: "alert" });
  app.replaceChildren(
    el("header", {}, el("h1", {}, "AgentVM"), status),
    el("main", { class: "chat" }, el("nav", { "aria-label": "Conversations" }, menu), el("div", { class: "talk" }, place, complaint, form), el("aside", { "aria-label": "Files" }, files)),
  );
  form.hidden = files.hidden = true;

  const rpc = new Rpc(key, tell, became);

  function fail(error: Error): void {
    complaint.textContent = error.message;
  }

  function became(state: State): void {
    status.textContent = state;
    send.disabled = state !== "connected";
    if (state === "unauthorized") {
      sessionStorage.removeItem(KEY);
      signIn(key === undefined ? "" : "This key is not known.");
    } else if (state === "connected") {
      complaint.textContent = "";
      if (!begun) load().catch(fail);
      begun = true;
    }
  }

  async function load(): Promise<void> {
    await rpc.call("container.create", { containerId: CONTAINER });
    images = (await rpc.call("image.list", { containerId: CONTAINER })).records;
    show();
    const last = images.at(-1);
    if (last) await enter(last);
  }

  function show(): void {
    const entry = (image: Image) => {
      const current = image.imageId === open?.image.imageId;
      const choose = () => enter(image).catch(fail);
      const button = el("button", { type: "button", class: "link", click: choose }, image.name);
      if (current) button.setAttribute("aria-current", "true");
      return el("li", {}, button);
    };
    list.replaceChildren(...[...images].reverse().map(entry));
  }

  async function begin(): Promise<void> {
    const name = `Conversation ${images.length + 1}`;
    const { record } = await rpc.call("image.create", { containerId: CONTAINER, name });
    images.push(record);
    await enter(record);
  }

  async function enter(image: Image): Promise<void> {
    const decide = (approvalId: string, decision: string) =>
      rpc.call("approval.answer", { imageId: image.imageId, approvalId, decision }).catch(fail);
    const transcript = new Transcript(decide);
    open = { image, transcript };
    complaint.textContent = "";
    form.hidden = files.hidden = false;
    files.open = false;
    busy(false);
    place.replaceChildren(transcript.element);
    if (!isWide.matches) menu.open = false;
    show();
    let after: number | undefined;
    do {
      const page = await rpc.call("image.messages", { imageId: image.imageId, after });
      for (const stored of page.messages) transcript.add(stored);
      after = page.next;
    } while (after !== undefined);
    await rpc.call("image.run", { imageId: image.imageId });
    rpc.listen(image.sessionId);
    const { approvals } = await rpc.call("approval.list", { imageId: image.imageId });
    for (const data of approvals) tell({ type: "approval_requested", data, cursor: "", context: image });
    transcript.element.scrollTop = transcript.element.scrollHeight;
    message.focus();
  }

  function tell(event: AgentEvent): void {
    if (event.context.imageId !== open?.image.imageId) return;
    if (event.type === "turn_request" || event.type === "approval_requested") busy(true);
    if (event.type === "turn_response") {
      busy(false);
      if (files.open) showFiles().catch(fail);
    }
    open.transcript.tell(event);
  }

  function busy(is: boolean): void {
    stop.disabled = !is;
    form.setAttribute("aria-busy", String(is));
  }

  function submit(event?: Event): void {
    event?.preventDefault();
    const content = message.value;
    if (content.trim() === "" || !open || send.disabled) return;
    const { image } = open;
    message.value = "";
    complaint.textContent = "";
    rpc.call("message.send", { imageId: image.imageId, content }).catch((error: Error) => {
      // Lost on the way, it may have arrived: the transcript tells. Refused, it is given back.
      if (error.message !== "the connection was lost") message.value ||= content;
      fail(error);
    });
  }

  function interrupt(): void {
    if (open) rpc.call("agent.interrupt", { imageId: open.image.imageId }).catch(fail);
  }

  async function showFiles(): Promise<void> {
    if (!open) return;
    const listed = await directory(rpc, open.image.imageId, "/", fail);
    files.querySelector("ul")?.remove();
    files.append(listed);
  }

  files.addEventListener("toggle", () => files.open && showFiles().catch(fail));
  message.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
  });
  addEventListener("keydown", (event) => event.key === "Escape" && !stop.disabled && interrupt());
}

chat(sessionStorage.getItem(KEY) ?? undefined);
