// One connection to the server that comes back by itself, and hears behind the last event where it was lost.

export interface AgentEvent {
  type: string;
  data: Record<string, any>;
  cursor: string;
  context: { imageId: string; sessionId: string };
}

export type State = "connecting" | "connected" | "unauthorized";

interface Waiting {
  resolve: (result: any) => void;
  reject: (error: Error) => void;
}

/** How long to wait before the next try, in milliseconds: longer each time, up to the last. */
const RETRIES = [250, 500, 1000, 2000, 5000];

export class Rpc {
  private socket: WebSocket | undefined;
  private next = 1;
  private tries = 0;
  private readonly waiting = new Map<number, Waiting>();
  /** The last event that was heard of each session. */
  private readonly cursors = new Map<string, string>();

  constructor(
    private readonly key: string | undefined,
    private readonly onEvent: (event: AgentEvent) => void,
    private readonly onState: (state: State) => void,
  ) {
    this.connect();
  }

  /** Asks, and gives the result. Whoever asks while the connection is lost is told so. */
  call(method: string, params: object = {}): Promise<any> {
    const socket = this.socket;
    if (socket?.readyState !== WebSocket.OPEN) return Promise.reject(new Error("not connected"));
    const id = this.next++;
    socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
  }

  /** The last event that is stored of a session. */
  async place(session: string): Promise<string> {
    const { cursor } = await this.call("subscribe", { topic: session });
    return String(cursor).split(".")[0]!;
  }

  /** Hears of a session from behind an event on, also after the connection was lost. */
  async listen(session: string, cursor: string): Promise<void> {
    await this.call("subscribe", { topic: session, afterCursor: cursor });
    // What was heard before the answer comes again.
    this.cursors.set(session, cursor);
  }

  /** Hears of a session no longer. */
  forget(session: string): void {
    this.cursors.delete(session);
    this.notify("unsubscribe", { topic: session });
  }

  close(): void {
    const socket = this.socket;
    this.socket = undefined;
    socket?.close();
  }

  private connect(): void {
    this.onState("connecting");
    const url = new URL("/ws", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    this.socket = socket;
    socket.onopen = () => {
      this.tries = 0;
      if (this.key !== undefined) {
        this.notify("auth", { headers: { authorization: `Bearer ${this.key}` } });
      }
      for (const [topic, afterCursor] of this.cursors) this.notify("subscribe", { topic, afterCursor });
      // Its answer says whether the key is known.
      this.call("container.list").then(
        () => this.onState("connected"),
        () => {},
      );
    };
    socket.onmessage = (message) => this.hear(JSON.parse(message.data));
    socket.onclose = () => this.lost(socket);
  }

  private lost(socket: WebSocket): void {
    for (const waiting of this.waiting.values()) waiting.reject(new Error("the connection was lost"));
    this.waiting.clear();
    if (this.socket !== socket) return;
    this.onState("connecting");
    const wait = RETRIES[Math.min(this.tries++, RETRIES.length - 1)];
    setTimeout(() => this.socket === socket && this.connect(), wait);
  }

  private hear(frame: any): void {
    if (frame.method === "stream.event") {
      const event: AgentEvent = frame.params.event;
      this.cursors.set(frame.params.topic, event.cursor);
      this.onEvent(event);
      return;
    }
    if (frame.error?.code === 401) {
      this.close();
      this.onState("unauthorized");
    }
    const waiting = this.waiting.get(frame.id);
    this.waiting.delete(frame.id);
    if (frame.error) waiting?.reject(new Error(frame.error.message));
    else waiting?.resolve(frame.result);
  }

  private notify(method: string, params: object): void {
    if (this.socket?.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ jsonrpc: "2.0", method, params }));
    }
  }
}
