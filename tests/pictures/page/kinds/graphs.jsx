// Panels with axes: over time with the board's marks, and over another number (trend).
import { FieldType, getFieldDisplayName } from '@grafana/data';
import { TimeSeries, preparePlotFrame } from '@grafana/ui';
import { Marks } from '../marks.jsx';
import { TIME_RANGE } from '../settings.js';

/** Lines and bars over time. */
export function OverTime({ panel, frames, width, height }) {
  return (
    <TimeSeries
      frames={frames}
      width={width}
      height={height}
      timeRange={TIME_RANGE}
      timeZone="utc"
      structureRev={1}
      legend={panel.options.legend}
      options={panel.options}
    >
      {(config) => <Marks config={config} />}
    </TimeSeries>
  );
}

/** Points over a field that is a number. */
export function Trend({ panel, frames, width, height }) {
  const along = (field, frame) =>
    getFieldDisplayName(field, frame, frames) === panel.options.xField;
  const x = frames[0].fields.find((field) => along(field, frames[0]));
  if (x?.type !== FieldType.number) throw new Error(`${panel.options.xField} is not a number`);
  if (x.values.some((value, index) => index > 0 && value < x.values[index - 1])) {
    throw new Error(`${panel.options.xField} does not ascend, and Grafana draws no trend then`);
  }
  const fields = {
    x: along,
    y: (field, frame) => field.type === FieldType.number && !along(field, frame),
  };
  return (
    <TimeSeries
      frames={frames}
      fields={fields}
      // Without the time range, which would be taken for ends of the horizontal axis.
      preparePlotFrame={(all, dimensions) => preparePlotFrame(all, dimensions)}
      width={width}
      height={height}
      timeRange={TIME_RANGE}
      timeZone="utc"
      structureRev={1}
      legend={panel.options.legend}
      options={panel.options}
    />
  );
}
