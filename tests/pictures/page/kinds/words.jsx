// Panels of words: tables and text.
import { renderTextPanelMarkdown } from '@grafana/data';
import { TableNG } from '@grafana/ui/unstable';
import { fillText } from '../variables.js';

/** Rows and columns. */
export function Rows({ panel, frames, width, height }) {
  const { sortBy, showHeader, cellHeight } = panel.options;
  return (
    <TableNG
      data={frames[0]}
      width={width}
      height={height}
      noHeader={!showHeader}
      cellHeight={cellHeight}
      sortBy={sortBy}
      fieldConfig={panel.fieldConfig}
      getActions={() => []}
      enableSharedCrosshair={false}
      showTypeIcons={false}
      structureRev={1}
    />
  );
}

/** Markdown; variables are filled in. */
export function Words({ panel }) {
  const html = renderTextPanelMarkdown(fillText(panel.options.content));
  return <div className="markdown-html" dangerouslySetInnerHTML={{ __html: html }} />;
}
