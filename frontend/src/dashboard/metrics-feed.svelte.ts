import { RequestState } from "../api/request-state.svelte";
import { getMetrics } from "../api/rest";
import type { Metric, MetricsReport } from "../api/types";
import { append, isAlerting, type History } from "./history";

const POLL_INTERVAL_MS = 12_000;

/** The server's metrics, polled while the page is visible. */
export class MetricsFeed extends RequestState {
  history = $state.raw<History>([]);
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isStopped = false;
  private readonly onVisibilityChange = (): void => void this.poll();

  get newest(): MetricsReport | null {
    return this.history.at(-1) ?? null;
  }

  get alerting(): readonly Metric[] {
    const metrics = this.newest?.groups.flatMap((group) => group.figures) ?? [];
    return metrics.filter((metric) => isAlerting(this.history, metric));
  }

  /** Poll until the returned function is called. A page that becomes visible again is updated at once. */
  start(): () => void {
    document.addEventListener("visibilitychange", this.onVisibilityChange);
    void this.poll();
    return () => {
      this.isStopped = true;
      clearTimeout(this.timer);
      document.removeEventListener("visibilitychange", this.onVisibilityChange);
    };
  }

  private async poll(): Promise<void> {
    clearTimeout(this.timer);
    if (document.visibilityState === "hidden") return;
    await this.attempt(getMetrics(), (report) => {
      if (!this.isStopped) this.history = append(this.history, withCapacity(report));
    });
    clearTimeout(this.timer);
    if (!this.isStopped) this.timer = setTimeout(() => void this.poll(), POLL_INTERVAL_MS);
  }
}

/** Add the number of further meetings that fit to the metrics about meetings. */
function withCapacity(report: MetricsReport): MetricsReport {
  const capacity: Metric = {
    key: "capacity",
    label: "Free capacity",
    hint: `Further meetings, of ${report.room.total} that fit in all, judged by the cost of speech recognition.`,
    metric: "",
    kind: "gauge",
    unit: "",
    value: report.room.more,
    count: null,
    p50: null,
    p95: null,
    p99: null,
    buckets: [],
    parts: {},
    alert: null,
  };
  const groups = report.groups.map((group) =>
    group.key === "meetings" ? { ...group, figures: [...group.figures, capacity] } : group,
  );
  return { ...report, groups };
}
