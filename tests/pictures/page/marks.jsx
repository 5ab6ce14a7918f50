// The board's annotations that are on at first: dashed lines where their query is above 0.
import { useLayoutEffect } from 'react';
import { ask } from './prometheus.js';
import { BOARD, FROM_MS, REPORT, THEME, TO_MS } from './settings.js';
import { fill } from './variables.js';

/** The marks: when, Unix milliseconds, and in which colour. */
const MARKS = [];

/** Asks for the moments; those one step apart are one mark, as in Grafana. */
export async function loadMarks() {
  for (const annotation of BOARD.annotations.list) {
    if (!annotation.expr || !annotation.enable) continue;
    const step = parseInt(annotation.step, 10);
    const parameters = {
      query: fill(annotation.expr),
      start: FROM_MS / 1e3,
      end: TO_MS / 1e3,
      step,
    };
    const { result } = await ask('query_range', parameters);
    for (const { values } of result) {
      const moments = values.map(([seconds]) => seconds);
      const first = moments.filter((at, index) => index === 0 || at - moments[index - 1] > step);
      MARKS.push(...first.map((at) => ({ ms: at * 1e3, color: annotation.iconColor })));
    }
    REPORT.marks = MARKS.length;
  }
}

/** Draws the marks on a plot before anything else is drawn there. */
export function Marks({ config }) {
  useLayoutEffect(() => {
    config.addHook('drawClear', (plot) => MARKS.forEach((mark) => line(plot, mark)));
  }, [config]);
  return null;
}

function line(plot, { ms, color }) {
  const { ctx, bbox } = plot;
  const x = Math.round(plot.valToPos(ms, 'x', true));
  ctx.save();
  ctx.strokeStyle = THEME.visualization.getColorByName(color);
  ctx.lineWidth = window.devicePixelRatio;
  ctx.setLineDash([4 * window.devicePixelRatio, 4 * window.devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.restore();
}
