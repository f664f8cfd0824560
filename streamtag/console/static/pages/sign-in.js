// Nobody is signed in yet.

import { api, signIn } from "../api.js";
import { failure, html, nothing } from "../ui.js";

export const title = "Sign in";

export async function mount({ draw, signal, signedIn }) {
  let error = null, elsewhere = false;
  const submit = async (event) => {
    event.preventDefault();
    error = null;
    try {
      await signedIn(await signIn(event.target.elements.token.value.trim()));
    } catch (found) {
      error = found;
      show();
    }
  };
  const show = () => draw(html`
    <section class="sheet">
      <h1>Sign in</h1>
      <p class="quiet">With a token of yours. <code>streamtag token create NAME --role operator</code> makes one.</p>
      ${error ? failure(error) : nothing}
      <form @submit=${submit}>
        <label><span>Token</span><input name="token" type="password" autocomplete="current-password" required autofocus></label>
        <button class="main">Sign in</button>
        ${elsewhere ? html`<a class="button" href="/v1/session/oidc">Sign in with your organisation’s account</a>` : nothing}
      </form>
    </section>`);
  show();
  elsewhere = (await api.get("/v1/session/oidc/configured", { signal })).configured;
  show();
}
