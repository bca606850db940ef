/** Numbers for people. What is not known is said to be so. */

export const UNKNOWN = 'not known';

type Maybe = number | bigint | null | undefined;

const grouped = new Intl.NumberFormat('en-US');

/** `12,345`. */
export function count(value: Maybe): string {
  return value === null || value === undefined ? UNKNOWN : grouped.format(value);
}

/** `1.2 M`, for places with little room. */
export function short(value: Maybe): string {
  if (value === null || value === undefined) return UNKNOWN;
  const plain = Number(value);
  const units = ['', ' k', ' M', ' G', ' T'];
  let unit = 0;
  let left = Math.abs(plain);
  while (left >= 999.5 && unit < units.length - 1) {
    left /= 1000;
    unit += 1;
  }
  const digits = unit === 0 ? (Number.isInteger(left) ? 0 : 1) : left < 10 ? 2 : left < 100 ? 1 : 0;
  return `${plain < 0 ? '−' : ''}${left.toFixed(digits)}${units[unit]}`;
}

/** `12.3 MiB`. */
export function bytes(value: Maybe): string {
  if (value === null || value === undefined) return UNKNOWN;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let unit = 0;
  let left = Number(value);
  while (left >= 1023.5 && unit < units.length - 1) {
    left /= 1024;
    unit += 1;
  }
  return `${unit === 0 || left >= 100 ? Math.round(left) : left.toFixed(1)} ${units[unit]}`;
}

/** `340 ms`, `12.3 s`, `2 h 5 min`. */
export function duration(ms: Maybe): string {
  if (ms === null || ms === undefined) return UNKNOWN;
  const value = Number(ms);
  if (value < 1) return `${value.toFixed(value === 0 ? 0 : 2)} ms`;
  if (value < 1000) return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
  const seconds = value / 1000;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** `1.2 k/s`. */
export function rate(value: Maybe, unit = ''): string {
  if (value === null || value === undefined) return UNKNOWN;
  return `${short(value)}${unit ? ` ${unit}` : ''}/s`;
}

/** `12.3 %`. */
export function share(of: Maybe, all: Maybe): string {
  if (of === null || of === undefined || !all) return UNKNOWN;
  const value = (100 * Number(of)) / Number(all);
  if (value > 0 && value < 0.05) return '< 0.1 %';
  return `${value >= 10 || value === 0 ? Math.round(value) : value.toFixed(1)} %`;
}

/** `2026-01-31 12:00:00`, in the time of the reader. */
export function moment(ms: Maybe): string {
  if (ms === null || ms === undefined) return UNKNOWN;
  const at = new Date(Number(ms));
  const two = (value: number) => String(value).padStart(2, '0');
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(ms)}`;
}

/** `12:00:00`. */
export function clock(ms: Maybe): string {
  if (ms === null || ms === undefined) return UNKNOWN;
  const at = new Date(Number(ms));
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map((value) => String(value).padStart(2, '0')).join(':');
}

/** `3 s ago`. */
export function ago(ms: Maybe, now: number = Date.now()): string {
  if (ms === null || ms === undefined) return UNKNOWN;
  const passed = now - Number(ms);
  return passed < 1000 ? 'now' : `${duration(passed)} ago`;
}

/** The beginning of an id or digest. */
export function brief(id: string | null | undefined): string {
  return id ? id.replace(/^sha256:/, '').slice(0, 8) : UNKNOWN;
}
