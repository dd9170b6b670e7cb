// Says pieces of text at a steady pace to each client that asks, as a server of agents does, and nothing else.
const { WebSocketServer } = require(process.argv[2]);

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
server.on("listening", () => console.log(`127.0.0.1:${server.address().port}`));
server.on("connection", (socket) => {
  socket.on("message", (asked) => {
    let [pieces, pace] = String(asked).split(" ").map(Number);
    const timer = setInterval(() => {
      const event = pieces-- > 0
        ? { type: "text_delta", data: { text: `${process.hrtime.bigint()} ` } }
        : { type: "turn_response", data: {} };
      const params = { topic: "session", event };
      socket.send(JSON.stringify({ jsonrpc: "2.0", method: "stream.event", params }));
      if (event.type === "turn_response") clearInterval(timer);
    }, 1000 / pace);
    socket.on("close", () => clearInterval(timer));
  });
});
process.stdin.on("end", () => process.exit()).resume();
