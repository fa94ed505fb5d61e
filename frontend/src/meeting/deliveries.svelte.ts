import { RequestState } from "../api/request-state.svelte";
import { decideDelivery, listDeliveries, listIntegrations, planDeliveries, problemOf } from "../api/rest";
import type { Delivery, Integration, Problem } from "../api/types";

export type Decision = "approve" | "dismiss" | "retry";

/** Polling slows down: what waits for another system may wait for hours. */
const FIRST_POLL_MS = 1500;
const LAST_POLL_MS = 20_000;

/** The deliveries of one meeting to integrations; polled while some are on their way. */
export class Deliveries extends RequestState {
  integrations = $state.raw<readonly Integration[]>([]);
  deliveries = $state.raw<readonly Delivery[]>([]);
  private pollMs = FIRST_POLL_MS;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isClosed = false;

  constructor(private readonly meetingId: string) {
    super();
  }

  /** Deliveries that wait for approval. */
  get proposed(): readonly Delivery[] {
    return this.deliveries.filter((one) => one.state === "proposed");
  }

  /** Integrations with deliveries. */
  get groups(): { integration: Integration; deliveries: Delivery[] }[] {
    return this.integrations
      .map((integration) => ({
        integration,
        deliveries: this.deliveries.filter((one) => one.integration === integration.name),
      }))
      .filter((group) => group.deliveries.length > 0);
  }

  async load(): Promise<void> {
    clearTimeout(this.timer);
    await this.attempt(this.read());
    const isMoving = this.deliveries.some((one) => one.state === "pending" || one.state === "sending");
    if (!isMoving || this.isClosed) return;
    this.timer = setTimeout(() => void this.load(), this.pollMs);
    this.pollMs = Math.min(LAST_POLL_MS, this.pollMs * 1.5);
  }

  /** Decide each delivery, whatever becomes of the others, and show the last refusal. */
  async decide(deliveries: readonly Delivery[], decision: Decision): Promise<void> {
    this.pollMs = FIRST_POLL_MS;
    let refusal: Problem | null = null;
    for (const { id } of deliveries) {
      await decideDelivery(this.meetingId, id, decision).catch((error: unknown) => (refusal = problemOf(error)));
    }
    await this.load();
    this.problem ??= refusal;
  }

  /** Plan deliveries for what is new since the last plan. */
  async plan(): Promise<void> {
    if (await this.attempt(planDeliveries(this.meetingId))) await this.load();
  }

  close(): void {
    this.isClosed = true;
    clearTimeout(this.timer);
  }

  private async read(): Promise<void> {
    if (this.integrations.length === 0) this.integrations = await listIntegrations();
    if (this.integrations.length > 0) this.deliveries = await listDeliveries(this.meetingId);
  }
}
