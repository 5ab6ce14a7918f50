// Lays a board's panels on Grafana's grid of 24 columns and draws each by its kind.
import { PanelChrome } from '@grafana/ui';
import { Component, useEffect, useState } from 'react';
import { answers } from './answers.js';
import { OverTime, Trend } from './kinds/graphs.jsx';
import { Bars, Gauge, Stat } from './kinds/numbers.jsx';
import { Timeline } from './kinds/timeline.jsx';
import { Rows, Words } from './kinds/words.jsx';
import { BOARD, FROM_MS, REPORT, SETTINGS, THEME, TO_MS } from './settings.js';
import { VARIABLES, fillText } from './variables.js';

const KINDS = {
  bargauge: Bars,
  gauge: Gauge,
  stat: Stat,
  'state-timeline': Timeline,
  table: Rows,
  text: Words,
  timeseries: OverTime,
  trend: Trend,
};

const EDGE = 16;
const GAP = 8;
const CELL_HEIGHT = 30;
const COLUMN_WIDTH = (SETTINGS.width - 2 * EDGE - 23 * GAP) / 24;
const across = (columns) => columns * (COLUMN_WIDTH + GAP) - GAP;
const down = (cells) => cells * (CELL_HEIGHT + GAP) - GAP;

/** The whole board, or the rows that were asked for. */
export function Board() {
  const { placed, height } = layout();
  const isWhole = !SETTINGS.rows.length;
  return (
    <div style={{ background: THEME.colors.background.canvas, padding: `${EDGE}px 0` }}>
      {isWhole && <Head />}
      <div style={{ position: 'relative', height: down(height) }}>
        {placed.map(({ panel, y }) =>
          panel.type === 'row' ? (
            <Heading key={panel.id} row={panel} y={y} />
          ) : (
            <Panel key={panel.id} panel={panel} y={y} />
          ),
        )}
      </div>
    </div>
  );
}

/** Returns each row and panel with its place from the top; closed rows are opened. */
function layout() {
  const placed = [];
  let height = 0;
  let shift = null;
  const put = (panel, y) => {
    placed.push({ panel, y });
    height = Math.max(height, y + panel.gridPos.h);
  };
  for (const panel of BOARD.panels) {
    if (panel.type !== 'row') {
      if (shift !== null) put(panel, panel.gridPos.y + shift);
      continue;
    }
    shift = isAsked(panel.title) ? height - panel.gridPos.y : null;
    if (shift === null) continue;
    put(panel, height);
    // The panels of a closed row have places of their own, as if it were open.
    const top = Math.min(...panel.panels.map((inside) => inside.gridPos.y));
    const below = height - top;
    for (const inside of panel.panels) put(inside, inside.gridPos.y + below);
  }
  return { placed, height };
}

const isAsked = (title) => !SETTINGS.rows.length || SETTINGS.rows.includes(title);

function Head() {
  const minute = (ms) => new Date(ms).toISOString().slice(0, 16).replace('T', ' ');
  const shown = [...VARIABLES.values()];
  const box = { border: `1px solid ${THEME.colors.border.medium}`, borderRadius: 2 };
  return (
    <div style={{ display: 'flex', gap: 10, alignItems: 'center', margin: `0 ${EDGE}px 12px` }}>
      <b style={{ fontSize: 18 }}>{BOARD.title}</b>
      {shown.map(({ label, chosen }) => (
        <span key={label} style={box}>
          <span style={{ background: THEME.colors.background.secondary, padding: '4px 8px' }}>
            {label}
          </span>
          <span style={{ padding: '4px 8px' }}>{chosen}</span>
        </span>
      ))}
      <span style={{ marginLeft: 'auto' }}>
        {minute(FROM_MS)} to {minute(TO_MS)} UTC
      </span>
    </div>
  );
}

function Heading({ row, y }) {
  const place = { position: 'absolute', left: EDGE, top: down(y) + GAP, height: CELL_HEIGHT };
  return (
    <div style={{ ...place, lineHeight: `${CELL_HEIGHT}px`, fontSize: 15, fontWeight: 500 }}>
      ⌄ {row.title}
      {row.collapsed && (
        <span style={{ color: THEME.colors.text.secondary }}> (closed at first)</span>
      )}
    </div>
  );
}

function Panel({ panel, y }) {
  const { x, w, h } = panel.gridPos;
  const [found, setFound] = useState(null);
  const [entry] = useState(() => ({ title: panel.title, state: 'waiting', details: [] }));
  useEffect(() => {
    REPORT.panels.push(entry);
    fare(panel, across(w)).then(({ state, details, frames }) => {
      Object.assign(entry, { state, details });
      setFound(frames);
    });
  }, []);
  const failed = (error) => Object.assign(entry, { state: 'not drawn', details: [String(error)] });
  const place = { position: 'absolute', left: EDGE + x * (COLUMN_WIDTH + GAP), top: down(y) + GAP };
  return (
    <div style={place}>
      <PanelChrome title={fillText(panel.title)} width={across(w)} height={down(h)}>
        {(width, height) =>
          found && (
            <Guard onError={failed}>
              <Body panel={panel} frames={found} width={width} height={height} />
            </Guard>
          )
        }
      </PanelChrome>
    </div>
  );
}

/** Returns how a panel's queries fared, in a word, with details. */
async function fare(panel, width) {
  if (panel.type === 'text') return { state: 'drawn', details: [], frames: [] };
  try {
    const { frames, errors, empty } = await answers(panel, width);
    if (errors.length) return { state: 'failed', details: errors, frames };
    if (empty.length) return { state: 'empty', details: empty, frames };
    return { state: 'drawn', details: [], frames };
  } catch (error) {
    return { state: 'failed', details: [String(error)], frames: [] };
  }
}

function Body({ panel, frames, width, height }) {
  const Kind = KINDS[panel.type];
  if (!Kind) throw new Error(`panels of the type ${panel.type} are not drawn here`);
  if (panel.type !== 'text' && !frames.some((frame) => frame.length)) {
    return <i>{panel.fieldConfig.defaults.noValue ?? 'No data'}</i>;
  }
  return <Kind panel={panel} frames={frames} width={width} height={height} />;
}

class Guard extends Component {
  state = {};

  static getDerivedStateFromError(error) {
    return { error };
  }

  componentDidCatch(error) {
    this.props.onError(error);
  }

  render() {
    return this.state.error ? String(this.state.error) : this.props.children;
  }
}
