// The server's endpoints, as anybody can call them.

let key = "";

/** Send `value` as the API key from now on; it is kept in memory only. */
export function useKey(value) {
  key = value;
}

/** An error that the server told, or the lack of a server. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function request(path, body, signal) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  if (body) headers["Content-Type"] = "application/json";
  let answer;
  try {
    const options = { method: body ? "POST" : "GET", headers, signal, body: body && JSON.stringify(body) };
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("", 0);
  }
  if (answer.ok) return answer;
  let message = answer.statusText;
  try {
    message = (await answer.json()).error.message;
  } catch { /* no JSON: the status must do */ }
  throw new ApiError(String(message), answer.status);
}

const call = async (path, body, signal) => (await request(path, body, signal)).json();

export const listModels = async () => (await call("v1/models")).data;
export const tokenize = (model, text) => call("v1/tokenize", { model, text });
export const classify = (model, input) => call("v1/classify", { model, input });
export const nextTokens = (model, prompt, k, logits = false) => call("v1/next_tokens", { model, prompt, k, ...(logits && { logits }) });
export const explain = (model, source, options = {}) => call("v1/explain", { model, ...source, ...options });

/** Call onChunk with each choice of a streamed completion. */
export async function complete(body, onChunk, signal) {
  const answer = await request("v1/completions", { ...body, stream: true }, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = "", end = false; !end;) {
    const { value, done } = await reader.read();
    const events = (rest + (value ?? "")).split(/\r?\n\r?\n/);
    rest = done ? "" : events.pop();
    for (const event of events) {
      const data = event.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("");
      if (!data || data === "[DONE]") continue;
      const parsed = JSON.parse(data);
      if (parsed.error) throw new ApiError(parsed.error.message, 500);
      for (const choice of parsed.choices) onChunk(choice);
    }
    end = done;
  }
}
