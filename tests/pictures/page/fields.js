// Fills the registries that Grafana's own start fills, so that overrides and transformations work.
import {
  FieldConfigOptionsRegistry,
  applyFieldOverrides,
  cacheFieldDisplayNames,
  dataLinksOverrideProcessor,
  displayNameOverrideProcessor,
  identityOverrideProcessor,
  numberOverrideProcessor,
  standardTransformers,
  standardTransformersRegistry,
  thresholdsOverrideProcessor,
  transformDataFrame,
  unitOverrideProcessor,
  valueMappingsOverrideProcessor,
} from '@grafana/data';
import { THEME } from './settings.js';
import { fillText } from './variables.js';

const SHARED = {
  color: identityOverrideProcessor,
  decimals: numberOverrideProcessor,
  displayName: displayNameOverrideProcessor,
  links: dataLinksOverrideProcessor,
  mappings: valueMappingsOverrideProcessor,
  max: numberOverrideProcessor,
  min: numberOverrideProcessor,
  noValue: identityOverrideProcessor,
  thresholds: thresholdsOverrideProcessor,
  unit: unitOverrideProcessor,
};
const CUSTOM = [
  'align',
  'axisColorMode',
  'axisLabel',
  'axisPlacement',
  'axisSoftMax',
  'axisSoftMin',
  'cellOptions',
  'drawStyle',
  'fillBelowTo',
  'fillOpacity',
  'hideFrom',
  'inspect',
  'lineInterpolation',
  'lineStyle',
  'lineWidth',
  'minWidth',
  'pointSize',
  'showPoints',
  'spanNulls',
  'stacking',
  'thresholdsStyle',
  'transform',
  'width',
];
const SHOWN = { legend: false, tooltip: false, viz: false };

const option = (id, path, process, isCustom) => ({
  id,
  path,
  name: id,
  isCustom,
  process,
  settings: {},
  editor: () => null,
  override: () => null,
  shouldApply: () => true,
});
const fieldConfigRegistry = new FieldConfigOptionsRegistry(() => [
  ...Object.entries(SHARED).map(([id, process]) => option(id, id, process, false)),
  ...CUSTOM.map((id) => option(`custom.${id}`, id, identityOverrideProcessor, true)),
]);

const transformers = new Map(Object.values(standardTransformers).map((one) => [one.id, one]));
standardTransformersRegistry.setInit(() =>
  [...transformers.values()].map((one) => ({
    id: one.id,
    name: one.name,
    transformation: async () => one,
    editor: () => null,
  })),
);

/** Returns frames after a panel's transformations. */
export function transformed(frames, transformations) {
  return new Promise((found, failed) =>
    transformDataFrame(transformations, frames).subscribe({ next: found, error: failed }),
  );
}

/** Returns frames with a panel's units, colours, thresholds and names. */
export function configured(frames, fieldConfig) {
  const overrides = fieldConfig.overrides.flatMap((one) => one.properties);
  const unknown = overrides.filter((one) => !fieldConfigRegistry.getIfExists(one.id));
  if (unknown.length) throw new Error(`not understood here: ${unknown.map((one) => one.id)}`);
  const shown = applyFieldOverrides({
    data: frames,
    fieldConfig,
    fieldConfigRegistry,
    replaceVariables: fillText,
    theme: THEME,
    timeZone: 'utc',
  });
  cacheFieldDisplayNames(shown);
  for (const { config } of shown.flatMap((frame) => frame.fields)) {
    config.custom = { hideFrom: SHOWN, ...config.custom };
  }
  return shown;
}
