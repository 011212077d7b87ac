// The WebSocket to the server: see protocol.py for what is said over it.

const PICTURE = 1;
const SOUND = 2;
const HEADER_BYTES = 16;
const MOST_WAITING_BYTES = 256 * 1024; // in the socket: above it a picture is left out, the next one is newer
const OUR_FAULT = [1003, 1008, 1013]; // to try again at once would not help
const LONGEST_WAIT_S = 8;

export class Link {
  // on.open(), on.message(object), on.picture(number, jpeg), on.closed(text, again)
  constructor(on) {
    this.on = on;
    this.socket = null;
    this.waitS = 1;
    this.nLeftOut = 0;
  }

  open() {
    if (!("WebSocket" in window)) {
      this.on.closed("This browser has no WebSocket, and the demo needs one.", false);
      return;
    }
    const token = new URLSearchParams(location.search).get("token") ?? "";
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/live?token=${encodeURIComponent(token)}`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.waitS = 1;
      this.on.open();
    };
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") this.on.message(JSON.parse(data));
      else this.on.picture(new DataView(data).getUint32(4, true), new Uint8Array(data, HEADER_BYTES));
    };
    socket.onclose = ({ code, reason }) => {
      if (this.socket !== socket) return;
      this.socket = null;
      if (code === 1000) return;
      if (OUR_FAULT.includes(code)) {
        this.on.closed(`The server ended the connection: ${reason || code}.`, true);
        return;
      }
      this.on.closed(`${reason ? `The server ended the connection: ${reason}` : "No connection to the server"}. Trying again.`, false);
      setTimeout(() => this.open(), 1000 * this.waitS);
      this.waitS = Math.min(2 * this.waitS, LONGEST_WAIT_S);
    };
    this.socket = socket;
  }

  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  close() {
    const { socket } = this;
    this.socket = null;
    socket?.close(1000);
  }

  send(value) {
    if (this.isOpen) this.socket.send(JSON.stringify(value));
  }

  sendPicture(number, takenMs, jpeg) {
    if (this.isOpen && this.socket.bufferedAmount > MOST_WAITING_BYTES) {
      this.nLeftOut += 1;
      return;
    }
    this.#sendBytes(PICTURE, number, takenMs, jpeg);
  }

  sendSound(number, takenMs, samples) {
    this.#sendBytes(SOUND, number, takenMs, samples);
  }

  #sendBytes(kind, number, takenMs, body) {
    if (!this.isOpen) return;
    const message = new Uint8Array(HEADER_BYTES + body.byteLength);
    const header = new DataView(message.buffer);
    header.setUint8(0, kind);
    header.setUint32(4, number, true);
    header.setFloat64(8, takenMs, true);
    message.set(new Uint8Array(body), HEADER_BYTES);
    this.socket.send(message);
  }
}
