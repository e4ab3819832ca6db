// The pad: strokes of a pointer or of the arrow keys, or a photo, and what is sent of either.

const SIDE = 280; // of the pad in its own units
const PEN = 22;
const STEP = 8;
const FAR = 40;
const LARGEST = 800; // pixels of a photo that is sent

export class Pad extends EventTarget {
  constructor(canvas) {
    super();
    this.canvas = canvas;
    this.strokes = [];
    this.photo = null;
    this.cursor = { x: SIDE / 2, y: SIDE / 2 };
    this.down = false; // the pen that the keyboard moves
    this.pointer = null;
    canvas.addEventListener('pointerdown', (event) => this.#begin(event));
    canvas.addEventListener('pointermove', (event) => this.#go(event));
    for (const name of ['pointerup', 'pointercancel', 'lostpointercapture']) {
      canvas.addEventListener(name, (event) => this.#end(event));
    }
    canvas.addEventListener('keydown', (event) => this.#key(event));
    for (const name of ['focus', 'blur']) canvas.addEventListener(name, () => this.draw());
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
    this.draw();
  }

  get empty() {
    return !this.photo && !this.strokes.length;
  }

  clear() {
    this.strokes = [];
    this.photo = null;
    this.down = false;
    this.#changed('Cleared.');
  }

  undo() {
    if (this.photo) {
      this.photo = null;
    } else {
      this.strokes.pop();
      this.down = false;
    }
    this.#changed(this.empty ? 'The pad is empty.' : 'One stroke taken back.');
  }

  async show(file) {
    const photo = await createImageBitmap(file);
    this.strokes = [];
    this.down = false;
    this.photo = photo;
    this.#changed('A photo is on the pad.');
  }

  // What the network is asked about: the photo, or black strokes on white paper.
  async blob() {
    const canvas = document.createElement('canvas');
    const context = canvas.getContext('2d');
    if (this.photo) {
      const scale = Math.min(1, LARGEST / Math.max(this.photo.width, this.photo.height));
      canvas.width = Math.max(1, Math.round(this.photo.width * scale));
      canvas.height = Math.max(1, Math.round(this.photo.height * scale));
      context.fillStyle = 'white';
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(this.photo, 0, 0, canvas.width, canvas.height);
    } else {
      canvas.width = canvas.height = SIDE;
      context.fillStyle = 'white';
      context.fillRect(0, 0, SIDE, SIDE);
      this.#ink(context, 'black');
    }
    return new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
  }

  draw() {
    const context = this.canvas.getContext('2d');
    const style = getComputedStyle(document.documentElement);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.scale(this.canvas.width / SIDE, this.canvas.height / SIDE);
    if (this.photo) {
      const { width, height } = this.photo;
      const scale = SIDE / Math.max(width, height);
      const [w, h] = [width * scale, height * scale];
      context.drawImage(this.photo, (SIDE - w) / 2, (SIDE - h) / 2, w, h);
    }
    this.#ink(context, style.getPropertyValue('--ink'));
    if (this.canvas.matches(':focus-visible')) {
      this.#cross(context, style.getPropertyValue(this.down ? '--other' : '--focus'));
    }
  }

  #ink(context, colour) {
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = PEN;
    context.lineCap = context.lineJoin = 'round';
    for (const stroke of this.strokes) {
      context.beginPath();
      if (stroke.length === 1) {
        context.arc(stroke[0].x, stroke[0].y, PEN / 2, 0, 2 * Math.PI);
        context.fill();
        continue;
      }
      context.moveTo(stroke[0].x, stroke[0].y);
      for (const point of stroke.slice(1)) context.lineTo(point.x, point.y);
      context.stroke();
    }
  }

  #cross(context, colour) {
    const { x, y } = this.cursor;
    context.strokeStyle = colour;
    context.lineWidth = 2;
    context.beginPath();
    context.arc(x, y, PEN / 2, 0, 2 * Math.PI);
    context.moveTo(x - PEN, y);
    context.lineTo(x + PEN, y);
    context.moveTo(x, y - PEN);
    context.lineTo(x, y + PEN);
    context.stroke();
  }

  #changed(said = '') {
    this.draw();
    this.dispatchEvent(new CustomEvent('change', { detail: said }));
  }

  // -- mouse, pen and finger

  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    const limit = (value) => Math.min(Math.max(value, 0), SIDE);
    return {
      x: limit(((event.clientX - box.left) / box.width) * SIDE),
      y: limit(((event.clientY - box.top) / box.height) * SIDE),
    };
  }

  #begin(event) {
    if (this.pointer !== null || event.button !== 0) return;
    this.pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.photo = null; // which a stroke is not drawn into
    this.down = false;
    this.cursor = this.#at(event);
    this.strokes.push([this.cursor]);
    this.#changed();
  }

  #go(event) {
    if (event.pointerId !== this.pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [event]) {
      this.cursor = this.#at(one);
      this.strokes.at(-1).push(this.cursor);
    }
    this.#changed();
  }

  #end(event) {
    if (event.pointerId === this.pointer) this.pointer = null;
  }

  // -- keyboard

  #key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (moves[event.key] && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const [x, y] = moves[event.key].map((n) => n * (event.shiftKey ? FAR : STEP));
      this.#move(x, y);
    } else if (event.key === ' ') {
      if (!event.repeat) this.#toggle();
    } else if (event.key === 'Delete' || event.key === 'Backspace') {
      this.clear();
    } else if (event.key.toLowerCase() === 'z') {
      this.undo();
    } else {
      return;
    }
    event.preventDefault();
  }

  #move(x, y) {
    const limit = (value) => Math.min(Math.max(value, 0), SIDE);
    this.cursor = { x: limit(this.cursor.x + x), y: limit(this.cursor.y + y) };
    if (!this.down) {
      this.draw();
      return;
    }
    this.strokes.at(-1).push(this.cursor);
    this.#changed();
  }

  #toggle() {
    this.down = !this.down;
    if (!this.down) {
      this.#changed('Pen up.');
      return;
    }
    this.photo = null;
    this.strokes.push([this.cursor]);
    this.#changed('Pen down.');
  }
}
