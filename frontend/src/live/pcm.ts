// Conversions of PCM audio: bytes, levels and WAV files.

/** Convert float samples in [-1, 1] to s16le. */
export function toPcm(samples: Float32Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(samples.length * 2);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < samples.length; i += 1) {
    const sample = Math.max(-1, Math.min(1, samples[i] ?? 0));
    view.setInt16(i * 2, Math.round(sample * 32767), true);
  }
  return bytes;
}

/** Bytes of one sample of every channel. */
export const frameBytes = (channels: number): number => 2 * channels;

/** Return the level of one channel of s16le, 0..1 on a decibel scale: -60 dB and below is 0, full scale is 1. */
export function level(pcm: Uint8Array<ArrayBuffer>, channels = 1, channel = 0): number {
  const samples = new Int16Array(pcm.buffer, pcm.byteOffset, pcm.byteLength >> 1);
  let sum = 0;
  for (let i = channel; i < samples.length; i += channels) sum += (samples[i] ?? 0) ** 2;
  const rms = Math.sqrt(sum / Math.max(1, samples.length / channels)) / 32768;
  return rms <= 0.001 ? 0 : Math.min(1, 1 + (20 * Math.log10(rms)) / 60);
}

/** Build a WAV file of s16le chunks. */
export function wavFile(chunks: Uint8Array<ArrayBuffer>[], sampleRate: number, channels = 1): Blob {
  const size = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const header = new DataView(new ArrayBuffer(44));
  const text = (at: number, word: string): void => {
    for (let i = 0; i < word.length; i += 1) header.setUint8(at + i, word.charCodeAt(i));
  };
  text(0, "RIFF");
  header.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true);
  header.setUint16(22, channels, true);
  header.setUint32(24, sampleRate, true);
  header.setUint32(28, sampleRate * frameBytes(channels), true);
  header.setUint16(32, frameBytes(channels), true);
  header.setUint16(34, 16, true);
  text(36, "data");
  header.setUint32(40, size, true);
  return new Blob([header.buffer, ...chunks], { type: "audio/wav" });
}
