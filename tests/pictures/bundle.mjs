// Makes the page that draws a board: page/main.jsx and what it imports, as bundle/main.js and .css.
import { build } from 'esbuild';

await build({
  entryPoints: ['page/main.jsx'],
  outdir: 'bundle',
  bundle: true,
  format: 'iife',
  platform: 'browser',
  jsx: 'automatic',
  minify: true,
  logLevel: 'error',
  mainFields: ['browser', 'module', 'main'],
  conditions: ['import', 'browser'],
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  loader: { '.svg': 'text', '.png': 'dataurl', '.ttf': 'dataurl', '.woff2': 'dataurl' },
  // The package hides its start behind a path that bundlers do not find.
  alias: { '@grafana/i18n/internal': './node_modules/@grafana/i18n/dist/esm/i18n.mjs' },
});
