// Node: node client.mjs [HOST] [PORT]
import { createSocket } from "node:dgram";

const [host = "127.0.0.1", port = "12345"] = process.argv.slice(2);
const socket = createSocket("udp4");
socket.on("message", (colour) => console.log(`Received colour: ${colour}`));
socket.send("connect", Number(port), host);
