// State timeline, a stand-in: one band for each series, coloured by its state, and a legend.
import { getFieldDisplayName } from '@grafana/data';
import { FROM_MS, THEME, TO_MS } from '../settings.js';

const LABELS_PIXELS = 130;
const LEGEND_PIXELS = 24;
const HIGHEST_BAND_PIXELS = 48;

/** Bands over time. */
export function Timeline({ frames, width, height }) {
  const band = Math.min(HIGHEST_BAND_PIXELS, (height - LEGEND_PIXELS) / frames.length);
  const place = (ms) =>
    LABELS_PIXELS + ((ms - FROM_MS) / (TO_MS - FROM_MS)) * (width - LABELS_PIXELS - 8);
  const rows = frames.map((frame) => ({
    name: getFieldDisplayName(frame.fields[1], frame, frames),
    states: states(frame),
  }));
  const meanings = new Map(
    rows.flatMap((row) => row.states.map((state) => [state.text, state.color])),
  );
  return (
    <svg width={width} height={height} fontSize={12} fill={THEME.colors.text.primary}>
      {rows.map(({ name, states }, index) => (
        <g key={name} transform={`translate(0 ${index * band})`}>
          <text x={LABELS_PIXELS - 8} y={band / 2 + 4} textAnchor="end">
            {name}
          </text>
          {states.map(({ from, to, color }) => (
            <rect
              key={from}
              x={place(from)}
              width={Math.max(1, place(to) - place(from))}
              y={band * 0.1}
              height={band * 0.8}
              fill={color}
              fillOpacity={0.7}
            />
          ))}
        </g>
      ))}
      {[...meanings].map(([text, color], index) => (
        <g key={text} transform={`translate(${LABELS_PIXELS + index * 90} ${height - 14})`}>
          <rect width={14} height={4} fill={color} />
          <text x={20} y={6}>
            {text}
          </text>
        </g>
      ))}
    </svg>
  );
}

/** Returns the stretches in which a series had one state. */
function states(frame) {
  const [time, value] = frame.fields;
  const found = [];
  let last = null;
  time.values.forEach((at, index) => {
    if (last) last.to = at;
    const known = value.values[index] !== null;
    const { text, color } = known ? value.display(value.values[index]) : {};
    if (!known) last = null;
    else if (last?.text !== text) found.push((last = { text, color, from: at, to: at }));
  });
  return found;
}
