// A scheduler plugin as a few functions: `export const plugin = define({ columns, score(pod, node, settings) { … } })`.

/** Why a node, or a pod as a whole, is turned down. With `unresolvable`, removing other pods does not help. */
export const reject = (reason, { unresolvable = false } = {}) => ({ reasons: [reason], unresolvable });

const POINTS = ['filter', 'postFilter', 'preScore', 'score', 'reserve', 'unreserve', 'permit', 'preBind'];

/**
 * What the world `scheduler-plugin` exports.
 *
 * - `columns(settings)`: the names of the columns that it reads (plugins/wit/scheduler says which there are).
 * - `validate(settings)` throws what is wrong with the settings.
 * - `preFilter(pod, cluster, settings)` answers nothing, or `reject(…)`.
 * - `filter(pod, node, settings)` answers nothing, or `reject(…)`; `node.get(column)` is its value, undefined without one.
 * - `score(pod, node, settings)` answers a number from 0 to 100.
 * - `reserve`, `preBind` (`(pod, node, settings)`) throw why not; `unreserve` gives back.
 * - `permit(pod, node, settings)` answers nothing, `{ wait: [askAgainMs, atMostMs] }` or `{ deny: why }`.
 * - `postFilter(pod, settings)` answers a note for the pod's event.
 *
 * Only the extension points that are there are called.
 */
export function define(plugin) {
  let settings = {};
  let cluster = new Cluster();
  const cycles = new Map();
  const pod = (cycle) => cycles.get(cycle);
  const on = (call) => (cycle, _state, node) => call(pod(cycle), cluster.node(node), settings);
  return {
    configure(json) {
      const given = JSON.parse(json);
      said(() => plugin.validate?.(given));
      settings = given;
    },
    describe() {
      const points = Object.fromEntries(POINTS.map((point) => [point, point in plugin]));
      return { points, columns: plugin.columns?.(settings) ?? [], wakes: plugin.wakes ?? {} };
    },
    update(delta) {
      cluster.change(delta);
    },
    preFilter(given) {
      const named = { ...given, labels: Object.fromEntries(given.labels), annotations: Object.fromEntries(given.annotations) };
      named.requests = Object.fromEntries(given.requests);
      named.nodeSelector = Object.fromEntries(given.nodeSelector);
      cycles.set(given.cycle, named);
      const rejection = plugin.preFilter?.(named, cluster, settings);
      if (rejection) throw rejection;
      return new Uint8Array();
    },
    filter(cycle, _state, rows) {
      const rejections = [];
      const nodes = rows.map((row) => {
        const rejection = plugin.filter(pod(cycle), cluster.node(row), settings);
        if (!rejection) return 0;
        const same = (other) => other.unresolvable === rejection.unresolvable && `${other.reasons}` === `${rejection.reasons}`;
        const place = rejections.findIndex(same);
        return place < 0 ? rejections.push(rejection) : place + 1;
      });
      return { nodes, rejections };
    },
    postFilter: (cycle) => plugin.postFilter?.(pod(cycle), settings) ?? null,
    preScore(cycle, state, rows) {
      plugin.preScore?.(pod(cycle), rows.map((row) => cluster.node(row)), settings);
      return state;
    },
    score: (cycle, _state, rows) => rows.map((row) => Math.round(plugin.score(pod(cycle), cluster.node(row), settings))),
    reserve: (...of) => said(() => on((...its) => plugin.reserve?.(...its))(...of)),
    unreserve: on((...its) => void plugin.unreserve?.(...its)),
    permit: on((...its) => {
      const answer = plugin.permit?.(...its);
      if (answer?.wait) return { tag: 'wait', val: answer.wait };
      return answer?.deny !== undefined ? { tag: 'deny', val: answer.deny } : { tag: 'allow' };
    }),
    preBind: (...of) => said(() => on((...its) => plugin.preBind?.(...its))(...of)),
    end(cycle) {
      plugin.end?.(pod(cycle), settings);
      cycles.delete(cycle);
    },
  };
}

/** The columns that the plugin asked for, kept up to date. */
export class Cluster {
  #columns = new Map();
  #dictionary = [];

  node(row) {
    return { row, get: (column) => this.#columns.get(column)?.[row] };
  }

  /** The names of the columns that came. */
  columns() {
    return [...this.#columns.keys()];
  }

  change(delta) {
    if (delta.since === 0) {
      this.#columns.clear();
      this.#dictionary = [];
    }
    this.#dictionary.push(...delta.dictionary);
    for (const row of delta.removed) this.#columns.forEach((values) => delete values[row]);
    for (const { name, validity, values } of delta.columns) {
      if (!this.#columns.has(name)) this.#columns.set(name, []);
      const held = this.#columns.get(name);
      const read = this.#reader(values);
      delta.changed.forEach((row, n) => {
        const valid = validity.length === 0 || (validity[n >> 3] >> (n & 7)) & 1;
        held[row] = valid ? read(n) : undefined;
      });
    }
  }

  #reader({ tag, val }) {
    if (tag === 'texts') return (n) => this.#dictionary[val[n]];
    if (tag === 'text-lists') {
      const start = (n) => (n === 0 ? 0 : val.ends[n - 1]);
      return (n) => Array.from(val.items.slice(start(n), val.ends[n]), (text) => this.#dictionary[text]);
    }
    return (n) => val[n];
  }
}

// The contract's errors are texts.
function said(call) {
  try {
    call();
  } catch (error) {
    throw error instanceof Error ? error.message : String(error);
  }
}
