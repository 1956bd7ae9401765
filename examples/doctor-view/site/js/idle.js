// Who leaves the machine without signing out: after a while without any input the page ends by itself.

const LONGEST = 15 * 60_000; // milliseconds

/** Call ended() once, when nothing was done for LONGEST. Returns what stops the watch. */
export function watchIdle(ended) {
  let timer;
  const again = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      stop();
      ended();
    }, LONGEST);
  };
  const stop = () => {
    clearTimeout(timer);
    for (const each of ["pointerdown", "keydown", "wheel"]) removeEventListener(each, again);
  };
  for (const each of ["pointerdown", "keydown", "wheel"]) addEventListener(each, again, { passive: true });
  again();
  return stop;
}
