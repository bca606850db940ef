/** What was refused, or done, for those who look at the page. */
import { isAborted, problemOf, type Problem } from './api';

export interface Toast {
  id: number;
  kind: 'error' | 'done';
  title: string;
  problem?: Problem;
}

class Toasts {
  all = $state<Toast[]>([]);
}

export const toasts = new Toasts();

let next = 0;

function add(toast: Omit<Toast, 'id'>): number {
  const id = next++;
  toasts.all = [...toasts.all.slice(-4), { ...toast, id }];
  return id;
}

export function dismiss(id: number): void {
  toasts.all = toasts.all.filter((toast) => toast.id !== id);
}

/** Says that something was refused. It stays until it is closed. */
export function failed(title: string, error: unknown): void {
  if (!isAborted(error)) add({ kind: 'error', title, problem: problemOf(error) });
}

/** Says that something was done, for a while. */
export function done(title: string): void {
  const id = add({ kind: 'done', title });
  setTimeout(() => dismiss(id), 6000);
}
