// The page: what is drawn, pasted, dropped or typed goes to the server, one request at a time.

import { Pad } from './pad.js';
import { Bars, Sample, Units, sentence } from './views.js';

const MOST_FIELDS = 64;
const PAUSE = 500; // milliseconds without a change, after which a screen reader is told

const by = (id) => document.getElementById(id);

let metadata;
let views;
let asked = null; // the newest question that has not been sent
let busy = false;
let timer;

function say(text) {
  clearTimeout(timer);
  timer = setTimeout(() => { by('status').textContent = text; }, PAUSE);
}

function show(prediction, verdict) {
  by('verdict').textContent = verdict;
  by('trouble').textContent = prediction?.warning ?? '';
  views.bars.show(prediction);
  views.units.show(prediction?.hidden);
  views.sample.show(prediction?.image);
}

function fail(message) {
  show(null, 'No answer.');
  by('trouble').textContent = message;
}

// A question is a function that gives the body of a request and its type, or null for none.
async function ask(question) {
  asked = question;
  if (busy) return;
  busy = true;
  while (asked) {
    const next = asked;
    asked = null;
    try {
      await answer(await next());
    } catch {
      fail('The server does not answer. Is it still running?');
    }
  }
  busy = false;
}

async function answer(request) {
  if (!request) {
    show(null, 'Nothing yet.');
    return;
  }
  const response = await fetch('predict?details=1', {
    method: 'POST',
    headers: { 'content-type': request.type },
    body: request.body,
  });
  const found = await response.json();
  if (!response.ok) {
    fail(found.error);
    return;
  }
  const [prediction] = found.predictions;
  const verdict = sentence(prediction, metadata);
  show(prediction, verdict);
  say(`The network says ${verdict}`);
}

// -- images

function startDrawing() {
  by('drawing').hidden = false;
  const pad = new Pad(by('pad'));
  pad.addEventListener('change', (event) => {
    by('pad-hint').hidden = !pad.empty;
    if (event.detail) by('status').textContent = event.detail;
    ask(async () => (pad.empty ? null : { type: 'image/png', body: await pad.blob() }));
  });
  by('clear').addEventListener('click', () => pad.clear());
  by('undo').addEventListener('click', () => pad.undo());
  const open = async (files) => {
    const file = [...(files ?? [])].find((one) => one.type.startsWith('image/'));
    if (!file) return;
    try {
      await pad.show(file);
    } catch {
      fail('This image cannot be read.');
    }
  };
  by('photo').addEventListener('change', (event) => {
    open(event.target.files);
    event.target.value = '';
  });
  document.addEventListener('paste', (event) => open(event.clipboardData?.files));
  document.addEventListener('dragover', (event) => {
    event.preventDefault();
    document.body.classList.add('dropping');
  });
  document.addEventListener('dragleave', () => document.body.classList.remove('dropping'));
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    document.body.classList.remove('dropping');
    open(event.dataTransfer?.files);
  });
}

// -- other samples

function field(text, control) {
  const label = document.createElement('label');
  label.append(text, control);
  by('fields').append(label);
  return control;
}

function startAsking() {
  by('asking').hidden = false;
  const count = metadata.sizes[0];
  const form = by('features');
  let values;
  if (count > MOST_FIELDS) {
    const area = Object.assign(document.createElement('textarea'), { rows: 6 });
    field(`${count} numbers, with commas or spaces between them`, area);
    values = () => area.value.split(/[\s,;]+/).filter(Boolean).map(Number);
  } else {
    const names = metadata.features ?? Array.from({ length: count }, (_, i) => `Feature ${i + 1}`);
    const inputs = names.map((name) => {
      const input = Object.assign(document.createElement('input'), { type: 'text' });
      input.inputMode = 'decimal';
      return field(name, input);
    });
    values = () => inputs.map((input) => (input.value.trim() ? Number(input.value) : NaN));
  }
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const sample = values();
    const wrong = sample.findIndex((value) => !Number.isFinite(value));
    if (sample.length !== count || wrong >= 0) {
      fail(wrong >= 0 ? `Value ${wrong + 1} is no number.` : `Give ${count} numbers.`);
      return;
    }
    ask(async () => ({ type: 'application/json', body: JSON.stringify({ sample }) }));
  });
}

// -- the beginning

async function start() {
  metadata = await (await fetch('metadata')).json();
  document.title = `${metadata.name} – fastnn`;
  by('name').textContent = metadata.name;
  const parts = [`${metadata.network} ${metadata.sizes.join('-')}`, metadata.activation];
  let what = `${parts.filter(Boolean).join(', ')}, ${metadata.dtype}.`;
  if (metadata.assumed) {
    what += ' Its file does not say what its samples are: they are taken for MNIST’s images.';
  } else if (!metadata.image) {
    what += ' It was trained on no images, so that there is nothing to draw.';
  }
  by('what').textContent = what;
  views = { bars: new Bars(metadata), units: new Units(metadata), sample: new Sample(metadata) };
  if (metadata.image) startDrawing();
  else startAsking();
}

start().catch(() => { by('trouble').textContent = 'The server does not answer.'; });
