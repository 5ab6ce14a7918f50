// Draws a board without Grafana: its JSON laid out, its queries asked, its panels by @grafana/ui.
import { ThemeContext } from '@grafana/data';
import { initializeI18n } from '@grafana/i18n/internal';
import { GlobalStyles, PortalContainer } from '@grafana/ui';
import { createRoot } from 'react-dom/client';
import { MemoryRouter } from 'react-router-dom';
import { Board } from './board.jsx';
import { loadMarks } from './marks.jsx';
import { REPORT, THEME } from './settings.js';
import { loadVariables } from './variables.js';

const LOOK_AGAIN_MS = 200;
// From the last answer until the plots are on their canvases.
const SETTLE_MS = 1_500;

async function start() {
  await initializeI18n({ language: 'en-US', ns: [] }, 'en-US');
  const font = new FontFace('Inter', 'url(/inter.woff2)', { weight: '100 900' });
  document.fonts.add(await font.load());
  await loadVariables();
  await loadMarks();
  createRoot(document.getElementById('root')).render(
    <MemoryRouter>
      <ThemeContext.Provider value={THEME}>
        <GlobalStyles />
        <Board />
        <PortalContainer />
      </ThemeContext.Provider>
    </MemoryRouter>,
  );
  const timer = setInterval(() => {
    const { panels } = REPORT;
    if (!panels.length || panels.some((one) => one.state === 'waiting')) return;
    clearInterval(timer);
    setTimeout(() => (REPORT.done = true), SETTLE_MS);
  }, LOOK_AGAIN_MS);
}

start().catch((error) => {
  REPORT.panels.push({ title: 'the whole board', state: 'failed', details: [String(error.stack)] });
  REPORT.done = true;
});
