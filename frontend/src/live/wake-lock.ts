/** Keep the screen on while a meeting is recorded. Returns a function that releases the lock. */
export function acquireWakeLock(): () => void {
  const wakeLock = (navigator as { wakeLock?: WakeLock }).wakeLock;
  if (wakeLock === undefined) return () => undefined;
  let sentinel: WakeLockSentinel | null = null;
  let isReleased = false;
  const request = (): void => {
    if (isReleased || document.visibilityState !== "visible") return;
    // The browser refuses on a low battery, for example; the screen then turns off as usual.
    wakeLock.request("screen").then(
      (granted) => {
        if (isReleased) void granted.release();
        else sentinel = granted;
      },
      () => undefined,
    );
  };
  document.addEventListener("visibilitychange", request);
  request();
  return () => {
    isReleased = true;
    document.removeEventListener("visibilitychange", request);
    void sentinel?.release();
  };
}
