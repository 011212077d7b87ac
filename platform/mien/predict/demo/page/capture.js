// Camera and microphone of the browser: pictures as JPEG at the rate that the server can use, sound in pieces.

const WIDEST_PX = 640;
const QUALITY = 0.85;

const WHY = {
  NotAllowedError: "was not allowed: allow it in the address bar, then start again",
  NotFoundError: "was not found: connect one, then start again",
  NotReadableError: "is in use by another program: close that, then start again",
  OverconstrainedError: "cannot give what is asked for",
  AbortError: "could not be started",
  SecurityError: "is not given to this page",
};

export class Capture {
  // on.picture(number, taken, buffer), on.sound(number, taken, buffer), on.change(), on.trouble(text)
  constructor(video, on) {
    this.video = video;
    this.on = on;
    this.canvas = document.createElement("canvas");
    this.tracks = { video: null, audio: null };
    this.context = null;
    this.pictureHz = 10;
    this.isPaused = false;
    this.nFrames = 0; // that the camera gave
    this.nPictures = 0; // that were sent
    this.nSounds = 0;
  }

  get soundHz() {
    return this.tracks.audio && this.context ? this.context.sampleRate : 0;
  }

  get hasPictures() {
    return Boolean(this.tracks.video);
  }

  // Whether anything was started. What could not be is told through on.trouble.
  async start({ camera, microphone }) {
    this.stop();
    if (!navigator.mediaDevices) {
      const why = window.isSecureContext
        ? "This browser gives no camera and no microphone to pages."
        : "Browsers give camera and microphone only to pages of this machine (127.0.0.1) or over https. " +
          "Open this page through a tunnel or over https.";
      this.on.trouble(why);
      return false;
    }
    const video = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 25 } };
    // As recordings are: without what telephones do to a voice
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const asked = camera && microphone ? [{ video, audio }, { video }, { audio }] : camera ? [{ video }] : [{ audio }];
    const troubles = [];
    for (const constraints of asked) {
      if (this.tracks.video && constraints.video) continue; // the second try gave it
      try {
        const stream = await navigator.mediaDevices.getUserMedia(constraints);
        for (const track of stream.getTracks()) this.#keep(track);
        if (constraints.video && constraints.audio) break;
      } catch (error) {
        if (!(constraints.video && constraints.audio) || error.name === "NotAllowedError") {
          const what = constraints.video ? (constraints.audio ? "Camera or microphone" : "The camera") : "The microphone";
          troubles.push(`${what} ${WHY[error.name] ?? `cannot be used (${error.name})`}.`);
        }
        if (error.name === "NotAllowedError") break; // not to ask again what was just refused
      }
    }
    this.on.trouble(troubles.join(" "));
    if (this.tracks.video) await this.#watch();
    if (this.tracks.audio) await this.#listen();
    return this.hasPictures || this.soundHz > 0;
  }

  #keep(track) {
    this.tracks[track.kind] = track;
    track.onended = () => {
      this.tracks[track.kind] = null;
      this.on.trouble(`${track.kind === "video" ? "The camera" : "The microphone"} was taken away.`);
      this.on.change();
    };
  }

  async #watch() {
    const { video } = this;
    const track = this.tracks.video;
    video.srcObject = new MediaStream([track]);
    await video.play();
    let due = -Infinity; // when the next is to be sent: one that came late does not put off those after it
    let isEncoding = false;
    const step = (now) => {
      if (this.tracks.video !== track) return;
      this.#next(step);
      this.nFrames += 1;
      // Cameras keep time loosely: a frame that comes a little early is not left to the next one
      const isDue = now >= due - 10;
      if (this.isPaused || isEncoding || !isDue || !video.videoWidth) return;
      const period = 1000 / this.pictureHz;
      due = (now - due < period ? due : now) + period;
      isEncoding = true;
      const scale = Math.min(1, WIDEST_PX / video.videoWidth);
      this.canvas.width = Math.round(video.videoWidth * scale);
      this.canvas.height = Math.round(video.videoHeight * scale);
      this.canvas.getContext("2d", { alpha: false }).drawImage(video, 0, 0, this.canvas.width, this.canvas.height);
      this.canvas.toBlob(
        async (blob) => {
          const buffer = blob && (await blob.arrayBuffer());
          isEncoding = false;
          if (!buffer || this.tracks.video !== track || this.isPaused) return;
          this.nPictures += 1;
          this.on.picture(this.nPictures, now, buffer);
        },
        "image/jpeg",
        QUALITY,
      );
    };
    this.#next(step);
  }

  #next(step) {
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(step);
    else requestAnimationFrame(step);
  }

  async #listen() {
    const track = this.tracks.audio;
    try {
      this.context = new AudioContext();
      await this.context.audioWorklet.addModule("/page/worklet.js");
      const node = new AudioWorkletNode(this.context, "gather", { numberOfOutputs: 0 });
      node.port.onmessage = ({ data }) => {
        if (this.tracks.audio !== track || this.isPaused) return;
        this.nSounds += 1;
        this.on.sound(this.nSounds, performance.now(), data);
      };
      this.context.createMediaStreamSource(new MediaStream([track])).connect(node);
      await this.context.resume();
    } catch (error) {
      this.tracks.audio = null;
      this.on.trouble(`The microphone cannot be heard (${error.name}).`);
    }
  }

  pause(isPaused) {
    this.isPaused = isPaused;
    for (const track of Object.values(this.tracks)) if (track) track.enabled = !isPaused;
  }

  stop() {
    for (const track of Object.values(this.tracks)) {
      if (!track) continue;
      track.onended = null;
      track.stop();
    }
    this.tracks = { video: null, audio: null };
    this.context?.close();
    this.context = null;
    this.video.srcObject = null;
  }
}
