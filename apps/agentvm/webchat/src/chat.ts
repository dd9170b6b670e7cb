// Conversations: the list of them, and the one that is open.

import { el } from "./dom";
import { directory } from "./files";
import { Rpc, type AgentEvent, type State } from "./rpc";
import { Transcript } from "./transcript";

/** The container where there is none yet. */
const CONTAINER = "chat";

/** What a conversation is called until something is said in it. */
const UNNAMED = "New conversation";

/** The longest name that a conversation gets by itself, in characters. */
const LONGEST = 48;

/** The states of an agent in which nothing is to be stopped. */
const AT_REST = ["idle", "error", "elsewhere"];

/** What one could begin with. */
const IDEAS = ["What can you do here?", "Run `ls -la` and show me what is there.", "Run `date > today.txt` to write a file."];

interface Image {
  imageId: string;
  sessionId: string;
  containerId: string;
  name: string;
}

export class Chat {
  readonly element: HTMLElement;
  private readonly rpc: Rpc;
  private images: Image[] = [];
  private container = CONTAINER;
  /** The conversation that is shown; it is told what happens once all that happened before is there. */
  private open: { image: Image; transcript: Transcript; isWhole: boolean } | undefined;
  private begun = false;
  /** How many beginnings and ends of turns were told. */
  private turns = 0;
  /** Aborted when this is no longer shown. */
  private readonly over = new AbortController();

  private readonly status = el("span", { class: "state", role: "status" });
  private readonly containers = el("select", { id: "container", change: () => this.enterContainer(this.containers.value).catch(this.fail) });
  private readonly list = el("ul", { class: "list" });
  private readonly menu = el("nav", { id: "menu", "aria-label": "Conversations" });
  private readonly title = el("h2", {}, "AgentVM");
  private readonly place = el("section", { class: "place" });
  private readonly files = el("details", { class: "files" }, el("summary", {}, "Files"));
  private readonly message = el("textarea", { rows: "1", "aria-label": "Message", placeholder: "Say something", enterkeyhint: "send" });
  private readonly send = el("button", { class: "send" }, "Send");
  private readonly stop = el("button", { type: "button", class: "plain stop", title: "Stop (Esc)", click: () => this.interrupt() }, "Stop");
  private readonly form = el("form", { class: "say", submit: (event) => this.submit(event) }, this.message, this.stop, this.send);
  private readonly complaint = el("p", { class: "error", role: "alert" });
  /** What was done, for those who don't see it. */
  private readonly news = el("p", { class: "unseen", role: "status" });
  private readonly unfold = el("button", { type: "button", class: "plain unfold", "aria-controls": "menu", "aria-expanded": "false", click: () => this.showMenu(!this.menu.classList.contains("shown")) }, "Conversations");

  /** `leave` is called when the server does not know the key, and when the user goes. */
  constructor(
    private readonly key: string | undefined,
    private readonly leave: (complaint: string) => void,
  ) {
    const create = el("button", { type: "button", class: "new", click: () => this.begin().catch(this.fail) }, UNNAMED);
    const another = el("button", { type: "button", class: "link", click: () => this.createContainer().catch(this.fail) }, "New container");
    const without = el("button", { type: "button", class: "link", click: () => this.deleteContainer().catch(this.fail) }, "Delete container");
    const out = el("button", { type: "button", class: "link", click: () => this.signOut() }, "Sign out");
    this.menu.append(
      el("h1", { class: "brand" }, "AgentVM"),
      create,
      this.list,
      el("footer", {}, el("label", { for: "container" }, "Container"), this.containers, another, without, ...(key === undefined ? [] : [out])),
    );
    this.element = el(
      "div",
      { class: "chat" },
      this.menu,
      el("main", {}, el("header", {}, this.unfold, this.title, this.status), el("div", { class: "work" }, el("div", { class: "talk" }, this.place, this.complaint, this.news, this.form), el("aside", { "aria-label": "Files" }, this.files))),
    );
    this.form.hidden = this.files.hidden = true;
    this.files.addEventListener("toggle", () => this.files.open && this.showFiles().catch(this.fail));
    this.message.addEventListener("input", () => this.grow());
    this.message.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) this.submit(event);
    });
    // Wherever the focus is: a button that had it may be gone.
    const escape = (event: KeyboardEvent) => {
      if (event.key !== "Escape") return;
      if (this.menu.classList.contains("shown")) this.showMenu(false);
      else if (!this.stop.disabled) this.interrupt();
    };
    addEventListener("keydown", escape, { signal: this.over.signal });
    this.element.addEventListener("click", (event) => {
      const isOutside = ![this.menu, this.unfold].some((part) => part.contains(event.target as Node));
      if (isOutside && this.menu.classList.contains("shown")) this.showMenu(false);
    });
    this.rpc = new Rpc(key, (event) => this.tell(event), (state) => this.became(state));
  }

  private readonly fail = (error: Error): void => {
    this.complaint.textContent = error.message;
  };

  private became(state: State): void {
    this.status.textContent = state;
    this.status.dataset.state = state;
    this.send.disabled = state !== "connected";
    if (state === "unauthorized") {
      this.over.abort();
      this.leave(this.key === undefined ? "" : "This key is not known.");
    } else if (state === "connected") {
      this.complaint.textContent = "";
      // Another tab, or a program, may have made some meanwhile.
      (this.begun ? this.comeBack() : this.load()).catch(this.fail);
      this.begun = true;
    }
  }

  private signOut(): void {
    this.rpc.close();
    this.over.abort();
    this.leave("");
  }

  private async comeBack(): Promise<void> {
    await this.refresh();
    // The connection was lost before all of it was there.
    if (this.open && !this.open.isWhole) await this.enter(this.open.image);
  }

  private async load(): Promise<void> {
    const { containerIds } = await this.rpc.call("container.list");
    if (containerIds.length === 0) await this.rpc.call("container.create", { containerId: CONTAINER });
    const names: string[] = containerIds.length === 0 ? [CONTAINER] : containerIds;
    this.containers.replaceChildren(...names.map((name) => el("option", { value: name }, name)));
    await this.enterContainer(names.includes(CONTAINER) ? CONTAINER : names[0]!);
  }

  private async createContainer(): Promise<void> {
    const name = prompt("The name of the new container: letters, digits, - and _")?.trim();
    if (!name) return;
    await this.rpc.call("container.create", { containerId: name });
    if (![...this.containers.options].some((option) => option.value === name)) this.containers.append(el("option", { value: name }, name));
    await this.enterContainer(name);
  }

  private async deleteContainer(): Promise<void> {
    const name = this.container;
    const many = this.images.length === 1 ? "its conversation" : `its ${this.images.length} conversations`;
    if (!confirm(`Delete the container “${name}” with ${many} and their files? They are gone for good.`)) return;
    await this.rpc.call("container.delete", { containerId: name });
    for (const image of this.images) this.rpc.forget(image.sessionId);
    await this.load();
    this.news.textContent = `The container “${name}” is deleted.`;
  }

  /** Deletes a conversation; one that was open makes room for another. */
  private async remove(image: Image): Promise<void> {
    if (!confirm(`Delete “${image.name}” with its files? They are gone for good.`)) return;
    const { imageId } = image;
    await this.rpc.call("image.delete", { imageId });
    this.rpc.forget(image.sessionId);
    if (imageId === this.open?.image.imageId) {
      await this.enterContainer(this.container);
    } else {
      await this.refresh();
      // The button that had the focus is gone.
      this.list.querySelector("button")?.focus();
    }
    this.news.textContent = `“${image.name}” is deleted.`;
  }

  private async enterContainer(name: string): Promise<void> {
    this.container = this.containers.value = name;
    await this.refresh();
    const last = this.images.at(-1);
    if (last) await this.enter(last);
    else await this.begin();
  }

  private async refresh(): Promise<void> {
    this.images = (await this.rpc.call("image.list", { containerId: this.container })).records;
    this.show();
  }

  private show(): void {
    const entry = (image: Image) => {
      const choose = () => this.enter(image).catch(this.fail);
      const button = el("button", { type: "button", class: "link", click: choose }, image.name);
      if (image.imageId === this.open?.image.imageId) button.setAttribute("aria-current", "true");
      const remove = () => this.remove(image).catch(this.fail);
      return el("li", {}, button, el("button", { type: "button", class: "link delete", "aria-label": `Delete ${image.name}`, title: "Delete", click: remove }, "×"));
    };
    this.list.replaceChildren(...[...this.images].reverse().map(entry));
    const name = this.images.find((image) => image.imageId === this.open?.image.imageId)?.name;
    if (name !== undefined) this.title.textContent = name;
  }

  private showMenu(is: boolean): void {
    this.menu.classList.toggle("shown", is);
    this.unfold.setAttribute("aria-expanded", String(is));
    if (is) this.menu.querySelector("button")?.focus();
  }

  private async begin(): Promise<void> {
    if (this.open?.image.name === UNNAMED && this.open.image.containerId === this.container && this.open.transcript.isEmpty) {
      this.showMenu(false);
      this.message.focus();
      return;
    }
    const { record } = await this.rpc.call("image.create", { containerId: this.container, name: UNNAMED });
    if (!this.images.some((image) => image.imageId === record.imageId)) this.images.push(record);
    await this.enter(record);
  }

  private async enter(image: Image): Promise<void> {
    const decide = (approvalId: string, decision: string) => {
      this.rpc.call("approval.answer", { imageId: image.imageId, approvalId, decision }).catch(this.fail);
      // The button that had the focus goes away.
      this.message.focus();
    };
    const transcript = new Transcript(decide);
    const open = { image, transcript, isWhole: false };
    this.open = open;
    this.complaint.textContent = "";
    this.form.hidden = this.files.hidden = false;
    this.files.open = false;
    this.busy(false);
    this.place.replaceChildren(transcript.element);
    this.showMenu(false);
    this.show();
    const { agentId } = await this.rpc.call("image.run", { imageId: image.imageId });
    const place = await this.rpc.place(image.sessionId);
    let after: number | undefined;
    do {
      const page = await this.rpc.call("image.messages", { imageId: image.imageId, after });
      for (const stored of page.messages) transcript.add(stored);
      after = page.next;
    } while (after !== undefined);
    // From behind what is stored: a message that is being written comes from its beginning.
    await this.rpc.listen(image.sessionId, place);
    open.isWhole = true;
    const turns = this.turns;
    const { agent } = await this.rpc.call("agent.get", { agentId });
    // An event that came meanwhile knows better.
    if (this.open === open && this.turns === turns) this.busy(agent !== null && !AT_REST.includes(agent.state));
    const { approvals } = await this.rpc.call("approval.list", { imageId: image.imageId });
    for (const data of approvals) this.tell({ type: "approval_requested", data, cursor: "", context: image });
    transcript.greet(this.greeting());
    transcript.end();
    if (this.open === open) this.message.focus();
  }

  private greeting(): HTMLElement {
    const idea = (text: string) => el("button", { type: "button", class: "idea", click: () => this.propose(text) }, text);
    return el("section", { class: "greeting" }, el("h3", {}, "What shall we do?"), el("p", { class: "note" }, "The agent of this conversation has a workspace of its own."), ...IDEAS.map(idea));
  }

  /** Puts a text where it can still be changed. */
  private propose(text: string): void {
    this.message.value = text;
    this.grow();
    this.message.focus();
  }

  private tell(event: AgentEvent): void {
    const { imageId } = event.context;
    if (event.type === "user_message" && !this.images.some((image) => image.imageId === imageId)) {
      // It was begun in another tab.
      this.refresh().catch(this.fail);
    }
    if (imageId !== this.open?.image.imageId || !this.open.isWhole) return;
    if (event.type === "turn_request" || event.type === "turn_response") this.turns++;
    if (event.type === "turn_request" || event.type === "approval_requested") this.busy(true);
    this.open.transcript.tell(event);
    if (event.type === "turn_response") {
      this.busy(false);
      if (this.files.open) this.showFiles().catch(this.fail);
    }
  }

  private busy(is: boolean): void {
    this.stop.disabled = !is;
    this.form.setAttribute("aria-busy", String(is));
    this.open?.transcript.busy(is);
  }

  private submit(event?: Event): void {
    event?.preventDefault();
    const content = this.message.value;
    if (content.trim() === "" || !this.open || this.send.disabled) return;
    const { image } = this.open;
    this.message.value = "";
    this.grow();
    this.complaint.textContent = "";
    this.rpc.call("message.send", { imageId: image.imageId, content }).catch((error: Error) => {
      // Lost on the way, it may have arrived: the transcript tells. Refused, it is given back.
      if (error.message !== "the connection was lost") this.message.value ||= content;
      this.fail(error);
    });
    if (image.name === UNNAMED) this.rename(image, content).catch(this.fail);
  }

  /** Calls a conversation by what it began with. */
  private async rename(image: Image, content: string): Promise<void> {
    const line = content.trim().split("\n")[0]!;
    image.name = line.length > LONGEST ? `${line.slice(0, LONGEST - 1)}…` : line;
    this.show();
    await this.rpc.call("image.update", { imageId: image.imageId, updates: { name: image.name } });
  }

  private interrupt(): void {
    if (this.open) this.rpc.call("agent.interrupt", { imageId: this.open.image.imageId }).catch(this.fail);
  }

  private async showFiles(): Promise<void> {
    if (!this.open) return;
    const listed = await directory(this.rpc, this.open.image.imageId, "/", this.fail);
    this.files.querySelector(":scope > ul")?.remove();
    this.files.append(listed);
  }

  /** As high as what is in it, within what the style allows. */
  private grow(): void {
    this.message.rows = Math.min(8, this.message.value.split("\n").length);
  }
}
