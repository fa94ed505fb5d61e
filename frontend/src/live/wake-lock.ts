/** Ask that the screen stays on while a meeting is recorded; returns how to take it back. */
export function keepAwake(): () => void {
  const wakeLock = (navigator as { wakeLock?: WakeLock }).wakeLock;
  if (wakeLock === undefined) return () => undefined;
  let held: WakeLockSentinel | null = null;
  let isOver = false;
  const ask = (): void => {
    if (isOver || document.visibilityState !== "visible") return;
    // Refused on low battery, for example: then the screen goes dark as usual.
    wakeLock.request("screen").then(
      (lock) => {
        if (isOver) void lock.release();
        else held = lock;
      },
      () => undefined,
    );
  };
  document.addEventListener("visibilitychange", ask);
  ask();
  return () => {
    isOver = true;
    document.removeEventListener("visibilitychange", ask);
    void held?.release();
  };
}
