// A board's variables: what each offers and has chosen, and how they are put into queries.
import { labelValues } from './prometheus.js';
import { BOARD, REPORT, SETTINGS, TO_MS } from './settings.js';

/** By name: label, whether several may be chosen, what is offered, and what is chosen. */
export const VARIABLES = new Map();

const PLACEHOLDER = /\$\{(\w+)(?::([\w:]+))?\}|\$(\w+)/g;
const QUERY = /^label_values\((?:(.+),\s*)?(\w+)\)$/s;

/** Asks Prometheus what each variable offers, in order: later ones depend on earlier ones. */
export async function loadVariables() {
  for (const variable of BOARD.templating.list) {
    const offered = variable.type === 'datasource' ? ['Prometheus'] : await offers(variable);
    const { name, label, multi, includeAll, allValue } = variable;
    const chosen = SETTINGS.chosen[name] ?? (includeAll ? 'All' : offered[0]);
    VARIABLES.set(name, { label, multi, allValue, chosen, isAll: includeAll && chosen === 'All' });
    REPORT.variables[name] = offered.length;
  }
}

async function offers(variable) {
  const parts = QUERY.exec(variable.definition);
  if (!parts) throw new Error(`${variable.name}: only label_values(...) is understood here`);
  return labelValues(parts[2], parts[1] && fill(parts[1]));
}

/** Puts choices into a query; `more` holds Grafana's own variables by name. */
export function fill(query, more = {}) {
  return query.replace(PLACEHOLDER, (whole, braced, _format, plain) => {
    const name = braced ?? plain;
    if (name in more) return more[name];
    const variable = VARIABLES.get(name);
    if (!variable) return whole;
    if (variable.isAll) return variable.allValue;
    // As the data source does: a regular expression where several could be chosen, else a string.
    const special = variable.multi ? /[\\^$*+?.()|[\]{}]/g : /[\\"]/g;
    return variable.chosen.replace(special, variable.multi ? '\\\\$&' : '\\$&');
  });
}

/** Puts choices into words that people read. */
export function fillText(text) {
  return text.replace(PLACEHOLDER, (whole, braced, format, plain) => {
    if (braced === '__to' && format === 'date:iso') return new Date(TO_MS).toISOString();
    return VARIABLES.get(braced ?? plain)?.chosen ?? whole;
  });
}
