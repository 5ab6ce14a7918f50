// Panels that show few numbers large: stat, bar gauge, and gauge.
import {
  VizOrientation,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
} from '@grafana/data';
import { BarGauge, BigValue, VizRepeater } from '@grafana/ui';
import { THEME } from '../settings.js';
import { fillText } from '../variables.js';

function shownValues({ panel, frames }) {
  return getFieldDisplayValues({
    data: frames,
    fieldConfig: panel.fieldConfig,
    reduceOptions: panel.options.reduceOptions,
    replaceVariables: fillText,
    sparkline: panel.options.graphMode !== undefined && panel.options.graphMode !== 'none',
    theme: THEME,
    timeZone: 'utc',
  });
}

function Repeated({ panel, values, width, height, children, ...more }) {
  const chosen = panel.options.orientation;
  const fitting = width > height ? VizOrientation.Vertical : VizOrientation.Horizontal;
  return (
    <VizRepeater
      theme={THEME}
      width={width}
      height={height}
      source={values}
      getValues={() => values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      orientation={chosen === 'auto' ? fitting : chosen}
      renderCounter={0}
      renderValue={children}
      {...more}
    />
  );
}

/** Big numbers. */
export function Stat(props) {
  const values = shownValues(props);
  const { colorMode, graphMode, justifyMode, textMode, wideLayout, text } = props.panel.options;
  return (
    <Repeated {...props} values={values} autoGrid itemSpacing={3}>
      {({ value, width, height, count, alignmentFactors }) => (
        <BigValue
          theme={THEME}
          width={width}
          height={height}
          count={count}
          value={value.display}
          sparkline={value.sparkline}
          alignmentFactors={alignmentFactors}
          colorMode={colorMode}
          graphMode={graphMode}
          justifyMode={justifyMode}
          textMode={textMode}
          wideLayout={wideLayout}
          text={text}
        />
      )}
    </Repeated>
  );
}

/** One bar for each value. */
export function Bars(props) {
  const values = shownValues(props);
  const {
    displayMode,
    maxVizHeight,
    minVizHeight,
    minVizWidth,
    namePlacement,
    showUnfilled,
    text,
    valueMode,
  } = props.panel.options;
  return (
    <Repeated
      {...props}
      values={values}
      itemSpacing={8}
      minVizHeight={minVizHeight}
      minVizWidth={minVizWidth}
      maxVizHeight={maxVizHeight}
    >
      {({ value, width, height, orientation, alignmentFactors }) => (
        <BarGauge
          theme={THEME}
          width={width}
          height={height}
          orientation={orientation}
          field={value.field}
          value={value.display}
          display={value.view?.getFieldDisplayProcessor(value.colIndex)}
          alignmentFactors={alignmentFactors}
          displayMode={displayMode}
          itemSpacing={8}
          lcdCellWidth={12}
          namePlacement={namePlacement}
          showUnfilled={showUnfilled}
          text={text}
          valueDisplayMode={valueMode}
        />
      )}
    </Repeated>
  );
}

/** Half an arc. A stand-in: Grafana keeps its gauge to itself. */
export function Gauge(props) {
  const [value] = shownValues(props);
  const { width, height } = props;
  const { text, suffix = '', prefix = '', numeric, color } = value.display;
  const centre = { x: width / 2, y: height * 0.8 };
  const radius = Math.max(10, Math.min(width / 2, height * 0.8) - 12);
  const { min = 0, max = 1 } = value.field;
  const part = Math.max(0, Math.min(1, (numeric - min) / (max - min)));
  const stroke = { fill: 'none', strokeWidth: radius * 0.26 };
  return (
    <svg width={width} height={height}>
      <path d={arc(centre, radius, 1)} stroke={THEME.colors.background.secondary} {...stroke} />
      <path d={arc(centre, radius, part)} stroke={color} {...stroke} />
      <text x={centre.x} y={centre.y} textAnchor="middle" fill={color} fontSize={radius * 0.46}>
        {prefix + text + suffix}
      </text>
    </svg>
  );
}

function arc({ x, y }, radius, part) {
  const angle = Math.PI * part;
  const end = `${x - radius * Math.cos(angle)} ${y - radius * Math.sin(angle)}`;
  return `M${x - radius} ${y}A${radius} ${radius} 0 0 1 ${end}`;
}
