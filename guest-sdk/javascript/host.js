// What the host offers to every plugin.
import logging from 'mizzen:plugin/log@0.1.0';
import clock from 'mizzen:plugin/clock@0.1.0';
import metrics from 'mizzen:plugin/metrics@0.1.0';

/** One line for the server's log; the level is `debug`, `info`, `warn` or `error`. */
export const log = (message, level = 'info') => logging.write(level, message);

/** Milliseconds since 1970. */
export const now = () => clock.now();

/** Adds to a counter, shown at `/metrics` as `mizzen_plugin_user_<name>`. */
export const count = (name, amount = 1) => metrics.count(name, amount);

/** Sets a gauge. */
export const gauge = (name, value) => metrics.gauge(name, value);
