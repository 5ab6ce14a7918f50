// Draws one board to a PNG in a headless Chromium, and tells on stdout, as JSON, how panels fared.
//
//   node draw.mjs BOARD.json --prometheus URL --at UNIX_SECONDS --picture FILE.png
//       [--var run=NAME]... [--row TITLE]... [--width PIXELS] [--scale FACTOR]
//       [--scrape SECONDS] [--chromium PROGRAM]
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import puppeteer from 'puppeteer-core';
import { serve } from './serve.mjs';

const TIMEOUT_MS = 90_000;
// Tables draw the rows in view alone, so once the page has its full height they draw anew.
const SETTLE_MS = 1_500;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    prometheus: { type: 'string' },
    at: { type: 'string' },
    picture: { type: 'string' },
    var: { type: 'string', multiple: true, default: [] },
    row: { type: 'string', multiple: true, default: [] },
    width: { type: 'string', default: '1280' },
    scale: { type: 'string', default: '1.5' },
    scrape: { type: 'string', default: '15' },
    chromium: { type: 'string', default: 'chromium' },
  },
});

const settings = {
  board: JSON.parse(readFileSync(positionals[0], 'utf8')),
  endSeconds: Number(options.at),
  scrapeSeconds: Number(options.scrape),
  width: Number(options.width),
  rows: options.row,
  chosen: Object.fromEntries(options.var.map((one) => one.split(/=(.*)/s, 2))),
};

const { server, url } = await serve(options.prometheus, settings);
const browser = await puppeteer.launch({
  executablePath: options.chromium,
  headless: true,
  // Chromium refuses its sandbox to root, and the page is ours.
  args: ['--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--font-render-hinting=none'],
});
try {
  console.log(JSON.stringify(await draw(browser)));
} finally {
  await browser.close();
  server.close();
}

async function draw(browser) {
  const page = await browser.newPage();
  const complaints = new Set();
  page.on('pageerror', (error) => complaints.add(error.message));
  page.on('console', (line) => line.type() === 'error' && complaints.add(line.text()));
  const viewport = { width: settings.width, deviceScaleFactor: Number(options.scale) };
  await page.setViewport({ ...viewport, height: 1000 });
  await page.goto(url);
  await page
    .waitForFunction('window.REPORT?.done', { timeout: TIMEOUT_MS })
    .catch(() => complaints.add(`not all was drawn within ${TIMEOUT_MS / 1e3} s`));
  const height = await page.evaluate('document.getElementById("root").scrollHeight');
  await page.setViewport({ ...viewport, height });
  await new Promise((settled) => setTimeout(settled, SETTLE_MS));
  await page.screenshot({ path: options.picture });
  const report = await page.evaluate('window.REPORT');
  return { panels: [], ...report, complaints: [...complaints] };
}
