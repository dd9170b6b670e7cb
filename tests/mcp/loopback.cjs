// The server would listen on every interface, at a port that it must be told: here it listens on loopback, at any free
// one, and says which. (The server itself tells of the port that it was told.)
const net = require("node:net");

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (_port, ...rest) {
  this.once("listening", () => console.log(`loopback port ${this.address().port}`));
  return listen.call(this, { port: 0, host: "127.0.0.1" }, ...rest);
};
