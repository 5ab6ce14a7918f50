// Serves the page, its fonts and icons, and Prometheus behind /prometheus: all one origin.
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = dirname(fileURLToPath(import.meta.url));
const PACKAGES = join(HERE, 'node_modules');
const FONT = join(PACKAGES, '@fontsource-variable/inter/files/inter-latin-wght-normal.woff2');
const ICON = /public\/(?:build\/)?(img\/icons\/[\w/-]+\.svg)/;
const TYPES = { css: 'text/css', js: 'text/javascript', svg: 'image/svg+xml', woff2: 'font/woff2' };

/** Starts the server on a free port of the loopback and returns it with its address. */
export async function serve(prometheus, settings) {
  const server = createServer((request, response) => {
    answer(request, response, prometheus, settings).catch((error) => {
      response.writeHead(502);
      response.end(JSON.stringify({ status: 'error', error: String(error) }));
    });
  });
  await new Promise((started) => server.listen(0, '127.0.0.1', started));
  return { server, url: `http://127.0.0.1:${server.address().port}/` };
}

async function answer(request, response, prometheus, settings) {
  if (request.url === '/') {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
    response.end(page(settings));
  } else if (request.url.startsWith('/prometheus/')) {
    await forward(request, response, prometheus + request.url.slice('/prometheus'.length));
  } else {
    send(response, file(request.url));
  }
}

function page(settings) {
  // Text of a board may hold "</script>"; an escaped "<" cannot end the element.
  const text = JSON.stringify(settings).replace(/</g, '\\u003c');
  return `<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/main.css">
<style>body { margin: 0 } * { box-sizing: border-box }</style><div id="root"></div>
<script>window.SETTINGS = ${text}</script><script src="/main.js"></script>`;
}

async function forward(request, response, url) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const found = await fetch(url, {
    method: request.method,
    headers: { 'content-type': request.headers['content-type'] ?? 'text/plain' },
    body: request.method === 'POST' ? Buffer.concat(chunks) : undefined,
  });
  response.writeHead(found.status, { 'content-type': 'application/json' });
  response.end(Buffer.from(await found.arrayBuffer()));
}

function file(url) {
  if (url === '/inter.woff2' || url.includes('/fonts/inter/')) return FONT;
  const icon = ICON.exec(url);
  if (icon) return join(PACKAGES, '@grafana/ui/dist/public', icon[1]);
  return join(HERE, 'bundle', basename(url));
}

function send(response, path) {
  if (!existsSync(path)) {
    // A font or an icon that is not at hand: the browser takes its own.
    response.writeHead(204);
    response.end();
    return;
  }
  response.writeHead(200, { 'content-type': TYPES[path.split('.').pop()] ?? 'text/plain' });
  response.end(readFileSync(path));
}
