// Nobody is signed in yet.

import { signIn } from "../api.js";
import { failure, html, nothing } from "../ui.js";

export const title = "Sign in";

export function mount({ draw, signedIn }) {
  let error = null;
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
      </form>
    </section>`);
  show();
}
