// What the page was asked to draw, the time range that follows from it, and what it reports.
import { createTheme, dateTime } from '@grafana/data';

export const SETTINGS = window.SETTINGS;
export const BOARD = SETTINGS.board;
export const THEME = createTheme({ colors: { mode: 'light' } });

/** How each panel fared, for whoever opened the page; `done` when everything is drawn. */
export const REPORT = (window.REPORT = { panels: [], variables: {}, done: false });

const UNIT_MS = { s: 1e3, m: 6e4, h: 36e5, d: 864e5 };
const [, count, unit] = /^now-(\d+)([smhd])$/.exec(BOARD.time.from);

export const TO_MS = SETTINGS.endSeconds * 1e3;
export const FROM_MS = TO_MS - Number(count) * UNIT_MS[unit];
export const RANGE_SECONDS = (TO_MS - FROM_MS) / 1e3;

const ends = { from: dateTime(FROM_MS), to: dateTime(TO_MS) };
export const TIME_RANGE = { ...ends, raw: ends };
