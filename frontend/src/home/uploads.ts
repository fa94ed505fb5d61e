// The uploads of this page: they go on while another page of the app is shown.

import { recording } from "../live/recording.svelte";
import { goTo, meetingHash, router } from "../routing.svelte";
import { meetingList } from "./meeting-list.svelte";
import { Uploads } from "./upload.svelte";

export const uploads = new Uploads((meeting, isOpened) => {
  void meetingList.refresh();
  // Its sender may be busy with something else meanwhile.
  if (isOpened && !recording.isRunning && router.route.page === "home") goTo(meetingHash(meeting.id));
});
