// Gathers what the microphone gives, 128 samples at a time, to pieces of 30 ms in 16 bits.

class Gather extends AudioWorkletProcessor {
  constructor() {
    super();
    this.size = Math.round(sampleRate * 0.03);
    this.piece = new Int16Array(this.size);
    this.filled = 0;
  }

  process(inputs) {
    const channels = inputs[0];
    const n = channels.length ? channels[0].length : 0;
    for (let i = 0; i < n; i += 1) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.piece[this.filled] = Math.max(-32768, Math.min(32767, Math.round((sum / channels.length) * 32768)));
      this.filled += 1;
      if (this.filled === this.size) {
        this.port.postMessage(this.piece.buffer, [this.piece.buffer]);
        this.piece = new Int16Array(this.size);
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("gather", Gather);
