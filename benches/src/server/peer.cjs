// Says pieces of text at a steady pace, as a server of agents does, and nothing else: to the client that asks, or to all that
// said `listen`, each piece encoded once.
const { WebSocketServer } = require(process.argv[2]);

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
const listening = new Set();
server.on("listening", () => console.log(`127.0.0.1:${server.address().port}`));
server.on("connection", (socket) => {
  socket.on("message", (asked) => {
    if (String(asked) === "listen") {
      listening.add(socket);
      socket.on("close", () => listening.delete(socket));
      socket.send("listening");
      return;
    }
    const [pieces, pace] = String(asked).split(" ").map(Number);
    const all = listening.size > 0 ? listening : [socket];
    let number = 0;
    const say = () => {
      const event = number < pieces
        ? { type: "text_delta", data: { text: `${number++} ${process.hrtime.bigint()} ` } }
        : { type: "turn_response", data: {} };
      const params = { topic: "session", event };
      const frame = JSON.stringify({ jsonrpc: "2.0", method: "stream.event", params });
      for (const one of all) one.send(frame);
      return event.type === "turn_response";
    };
    if (pace === 0) {
      while (!say());
      return;
    }
    // Whoever is late says what is due: a pace that is given up would look like a short wait.
    const begun = performance.now();
    const timer = setInterval(() => {
      const due = ((performance.now() - begun) * pace) / 1000;
      while (number < due) if (say()) return clearInterval(timer);
    }, 1000 / pace);
    socket.on("close", () => clearInterval(timer));
  });
});
process.stdin.on("end", () => process.exit()).resume();
