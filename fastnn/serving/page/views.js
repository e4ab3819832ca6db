// What the network says, as bars, lights and an image; and as text for those who do not see them.

const MOST_BARS = 12;
const MOST_CELLS = 1000;

const by = (id) => document.getElementById(id);
const percent = (p) => `${(100 * p).toFixed(1)} %`;
const plain = (v) => String(Number(v.toPrecision(5)));

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// The sentence that says what a prediction is.
export function sentence(prediction, metadata) {
  const outputs = prediction[metadata.outputs];
  const number = metadata.outputs === 'probabilities' ? percent : plain;
  if (prediction.labels) {
    const said = prediction.labels;
    if (outputs.length === 1) return `${said.length ? 'Yes' : 'No'}: ${number(outputs[0])}`;
    return said.length ? said.join(', ') : 'None of them';
  }
  if (prediction.label === undefined) return plain(outputs[0]);
  return `${prediction.label}: ${number(outputs[prediction.index])}`;
}

export class Bars {
  constructor(metadata) {
    this.metadata = metadata;
    this.body = by('bars').tBodies[0];
    by('bars-title').textContent = {
      probabilities: 'Probability of each class',
      values: 'Outputs of the network',
    }[metadata.outputs];
    const few = metadata.labels.length <= MOST_BARS;
    this.rows = metadata.labels.slice(0, MOST_BARS).map((label) => {
      const heading = element('th', { scope: 'row', textContent: few ? label : '' });
      const fill = element('div', { className: 'fill' });
      const track = element('div', { className: 'track' }, fill);
      track.setAttribute('aria-hidden', 'true');
      const number = element('span', { className: 'number', textContent: '–' });
      const cell = element('div', { className: 'cell' }, track, number);
      const row = element('tr', {}, heading, element('td', {}, cell));
      this.body.append(row);
      return { row, heading, fill, number };
    });
  }

  show(prediction) {
    const { labels, outputs: kind } = this.metadata;
    const values = prediction?.[kind] ?? [];
    let order = labels.map((_, i) => i);
    if (labels.length > MOST_BARS) {
      order = order.sort((a, b) => values[b] - values[a]).slice(0, MOST_BARS);
    }
    const scale = kind === 'probabilities' ? 1 : Math.max(...values.map(Math.abs), 1e-300);
    this.rows.forEach(({ row, heading, fill, number }, place) => {
      const i = order[place];
      const value = values[i];
      const known = value !== undefined;
      heading.textContent = known || labels.length <= MOST_BARS ? labels[i] : '';
      fill.style.setProperty('--share', known ? Math.abs(value) / scale : 0);
      fill.classList.toggle('below', known && value < 0);
      number.textContent = !known ? '–' : kind === 'probabilities' ? percent(value) : plain(value);
      row.classList.toggle('best', known && prediction.index === i);
    });
  }
}

export class Units {
  constructor(metadata) {
    const [, units] = metadata.sizes;
    this.activation = metadata.activation;
    this.shown = metadata.activation === null ? 0 : Math.min(units, MOST_CELLS);
    this.cells = Array.from({ length: this.shown }, () => element('i'));
    by('units').hidden = !this.shown;
    by('cells').append(...this.cells);
    const more = units > this.shown ? ` The first ${this.shown} of ${units} are shown.` : '';
    const below = ['tanh', 'identity'].includes(this.activation) ? ' Orange is below zero.' : '';
    by('units-help').textContent = `The stronger the colour, the more active.${below}${more}`;
  }

  show(values) {
    if (!this.shown) return;
    const some = (values ?? []).slice(0, this.shown);
    const bounded = ['sigmoid', 'tanh'].includes(this.activation);
    const scale = bounded ? 1 : some.reduce((most, v) => Math.max(most, Math.abs(v)), 1e-300);
    this.cells.forEach((cell, i) => {
      cell.style.setProperty('--share', some.length ? Math.abs(some[i]) / scale : 0);
      cell.classList.toggle('below', some.length > 0 && some[i] < 0);
    });
    const order = some.map((_, i) => i).sort((a, b) => Math.abs(some[b]) - Math.abs(some[a]));
    const first = order.slice(0, 5).map((i) => `${i + 1} at ${some[i].toFixed(2)}`);
    const said = some.length ? `Most active of ${some.length}: ${first.join(', ')}` : 'Nothing yet';
    by('cells').setAttribute('aria-label', said);
  }
}

export class Sample {
  constructor(metadata) {
    this.canvas = by('sample');
    by('seen').hidden = !metadata.image;
    if (metadata.image) [this.canvas.height, this.canvas.width] = metadata.image;
  }

  show(pixels) {
    const { width, height } = this.canvas;
    const context = this.canvas.getContext('2d');
    context.clearRect(0, 0, width, height);
    const inked = (pixels ?? []).filter((value) => value > 127).length;
    this.canvas.setAttribute(
      'aria-label',
      pixels ? `Image of ${width} by ${height} pixels, ${inked} of them bright` : 'Nothing yet',
    );
    if (!pixels) return;
    const image = context.createImageData(width, height);
    pixels.forEach((value, i) => image.data.set([value, value, value, 255], 4 * i));
    context.putImageData(image, 0, 0);
  }
}
