"""What a person reads about each condition; `runbook_events` has the events that a person must act on.

Notifications use it, and `docs/runbook.md` is made from it.
"""

from __future__ import annotations

from collections.abc import Mapping

from rotator.domain.advice import Advice
from rotator.domain.condition import ConditionKind

PAGE = "docs/runbook.md"
_ORGANIZATION_REFUSES = (
    "Azure DevOps refuses the account: it is no longer a member of the organization, or a policy keeps it out."
)
CONDITIONS: Mapping[ConditionKind, Advice] = {
    ConditionKind.SIGN_IN_NEEDED: Advice(
        one="{subject} must sign in again",
        many="{count} accounts must sign in again",
        meaning="Entra no longer accepts the account's sign-in, and rotator cannot renew it alone: a person must "
        "sign in as the account.",
        otherwise="No PAT of the account is rotated. Consumers notice nothing until the first of these PATs expires.",
        command="rotator login {subject}",
        fix="The person behind the account signs in, on any device, and rotator continues by itself within a minute. "
        "Entra ends a sign-in when the password was changed, the sessions were revoked or a policy asks for a new one, "
        "and after 90 days without use. If somebody ended it because of an attack, find out first.",
        mends=True,
    ),
    ConditionKind.ACCOUNT_DOWN: Advice(
        one="{subject} cannot be used",
        many="{count} accounts cannot be used",
        was="{subject} could not be used",
        meaning="Entra cannot be asked for the account's access token, although it did not refuse the sign-in: it does "
        "not answer, or the network, the proxy or a certificate is in the way.",
        otherwise="Each run tries again, and it usually passes. While it lasts, no PAT of the account is rotated; the "
        "PATs themselves stay valid until they expire.",
        command="rotator scan",
        fix="Check that this host reaches login.microsoftonline.com, and look at the proxy and CA bundle in `http`.",
    ),
    ConditionKind.ORGANIZATION_DOWN: Advice(
        one="{subject} cannot be checked",
        many="{count} organizations cannot be checked",
        was="{subject} could not be checked",
        meaning="The account cannot list its PATs in the organization: Azure DevOps does not answer as it should, or "
        "it refuses the account.",
        otherwise="Each run tries again. While it lasts, no PAT of the account in this organization is rotated or "
        "revoked. Consumers notice nothing until one expires, unless the account was removed: then its PATs may be "
        "refused already. `curl -i -u pat https://dev.azure.com/ORGANIZATION/_apis/connectionData` asks for the value "
        "of one, and tries it: 200 means that it works.",
        command="rotator scan",
        fix="`rotator scan` says what is in the way, and what to do about it. If Azure DevOps refuses the account, "
        "look at its users: add it again if it is gone; if it is a member, look for the policy that keeps it out.",
        reasons={
            "denied": _ORGANIZATION_REFUSES,
            "access_denied": _ORGANIZATION_REFUSES,
            "bearer_refused": _ORGANIZATION_REFUSES,
            "sign_in_page": "Azure DevOps, or a proxy in between, wants a sign-in in a browser.",
            "throttled": "Azure DevOps asks for fewer requests.",
            "server_error": "Azure DevOps answers with an error of its own.",
        },
    ),
    ConditionKind.VAULT_DOWN: Advice(
        one="the vault {subject} does not work",
        many="{count} vaults do not work",
        was="the vault {subject} did not work",
        meaning="The vault did not answer, or answered unexpectedly, while a managed PAT was worked on.",
        otherwise="No PAT whose value is in this vault is rotated; each run tries again. Consumers that cannot read "
        "the vault either fail now; the others notice nothing until a PAT expires.",
        command="rotator status",
        fix="If the vault answers with errors, see the service health of Key Vault. If it does not answer, check that "
        "it exists, and that its firewall lets this host through.",
        reasons={
            "vault_failed": "The vault can be reached, and answers with an error of its own.",
            "vault_throttled": "The vault asks for fewer requests.",
        },
    ),
    ConditionKind.DATABASE_DOWN: Advice(
        one="the database cannot be used",
        many="the database cannot be used",
        meaning="The daemon cannot read or write its database: the server is away, the disk is full, or the file is "
        "gone or locked. Without the database nothing is minted and nothing is revoked.",
        otherwise="No PAT is rotated at all. Consumers notice nothing until the first PAT expires.",
        command="rotator db current",
        fix="Bring the database back. The daemon notices that by itself, and finishes what it had begun. If the "
        "database is lost, see [Loss of the database](#loss-of-the-database).",
    ),
    ConditionKind.ROTATION_FAILING: Advice(
        one="{subject} could not be rotated",
        many="{count} PATs could not be rotated",
        meaning="Something went wrong with the rotation. It is tried again at growing intervals, up to an hour, and "
        "nothing is lost in the meantime.",
        otherwise="This usually passes by itself. If it does not, the PAT expires, and its consumers fail from then "
        "on.",
        command="rotator status {subject}",
        fix="Do what `rotator status {subject}` says. `rotator rotate {subject}` tries again immediately.",
    ),
    ConditionKind.ROTATION_BLOCKED: Advice(
        one="{subject} cannot be rotated",
        many="{count} PATs cannot be rotated",
        meaning="The PAT is not rotated until a person has removed the cause.",
        otherwise="The PAT expires, and its consumers fail from then on.",
        command="rotator status {subject}",
        fix="Do what `rotator status {subject}` says. If it is still blocked then, `rotator rotate {subject}` tries "
        "again immediately.",
        reasons={
            "blocked": "The policy forbids rotating it: the message names the setting, such as a denied scope. Change "
            "the policy, or replace the PAT by hand. For the new one to have the same name and secret: `rotator "
            "inventory forget {subject}`, `rotator inventory adopt ID --as {subject} --secret SECRET`, then "
            "`rotator rotate {subject}`. When nobody uses the old one any more, revoke it in Azure DevOps.",
            "foreign_write": "Somebody else wrote or deleted the secret: nothing was revoked, because consumers do not "
            "read rotator's value. rotator does not know whether what they read works: try it.",
            "all_organizations": "It is valid for all organizations, and no such PAT works from 2026-12-01 on.",
            "secret_unconfirmed": "Somebody wrote the secret after a person confirmed it by adopting: nothing was "
            "minted or revoked. Consumers read what was written; rotator does not know whether it works: try it.",
        },
    ),
    ConditionKind.PAT_VANISHED: Advice(
        one="{subject} was revoked outside rotator, and may have leaked",
        many="{count} PATs were revoked outside rotator, and may have leaked",
        meaning="Either a person revoked it, or Microsoft did: it revokes PATs that are found in public places.",
        otherwise="Consumers fail until a new PAT is in the secret. rotator stores one by itself only if the rule of "
        "the PAT says `on_leak: rotate`.",
        command="rotator status {subject}",
        fix="If consumers need it, run `rotator rotate {subject}`, which stores a new PAT; where the policy forbids "
        "that, `rotator status {subject}` says what to do instead. Ask your team who revoked "
        "it, and look at the mail of the account's user and at `rotator audit reconcile`. If nobody in your team did, "
        "it may be public: call your security team. If nobody needs it any more: `rotator inventory forget {subject}`.",
    ),
    ConditionKind.PAT_EXPIRING: Advice(
        one="{subject} expires and will not be rotated",
        many="{count} PATs expire and will not be rotated",
        meaning="The PAT is near its expiry, and what keeps it from being rotated does not pass by itself; or its rule "
        "says `action: alert`, and it is due.",
        otherwise="The PAT expires at the named time, and its consumers fail from then on.",
        command="rotator status {subject}",
        fix="Do what `rotator status {subject}` says, or replace the PAT in Azure DevOps and adopt the new one.",
        reasons={
            "paused": "Somebody paused it: `rotator inventory resume {subject}` has it rotated again.",
            "replace_by_hand": "Its rule says `action: alert`: a person replaces it. If its rule names a vault, "
            "`rotator rotate {subject}` does it. Otherwise make a new PAT in Azure DevOps, give it to the consumers, "
            "`rotator inventory forget {subject}`, and adopt the new one.",
            "blocked": "The policy forbids rotating it.",
            "hook_awaited": "Its last rotation still waits for a required hook.",
            "all_organizations": "It is valid for all organizations: replace it by one PAT for each.",
        },
    ),
    ConditionKind.CLONES_ABANDONED: Advice(
        one="new PATs for {subject} are given up again and again",
        many="new PATs for {count} PATs are given up again and again",
        meaning="Several new PATs were made within a day and had to be revoked because they could not be used, and "
        "nothing explains it. rotator waits longer and longer between attempts, so as not to make PATs for nothing.",
        otherwise="The PAT expires, and its consumers fail from then on.",
        command="rotator audit list --name {subject} --since 2d",
        fix="See in the audit log at which step the attempts end. Often a policy of the organization refuses new PATs, "
        "or a second program manages the same PAT or secret.",
    ),
    ConditionKind.LIFETIME_SHORTENED: Advice(
        one="{subject} has a shorter lifetime than its rule asks for",
        many="{count} PATs have shorter lifetimes than their rules ask for",
        meaning="Near its expiry the PAT was renewed, but the organization granted less time than the rule asks for. "
        "It will be renewed again when two thirds of that time are over.",
        otherwise="Nothing breaks as long as rotations succeed. They are more frequent now, so after one that fails "
        "there is less time before consumers fail.",
        command="rotator audit list --name {subject} --event lifetime_shortened",
        fix="Ask an Azure DevOps administrator what maximum lifetime of PATs the "
        "organization enforces. Either have it raised, or set `lifetime` of the rule in rotator's policy to at most "
        "that.",
    ),
    ConditionKind.CLOCK_WRONG: Advice(
        one="the clock of {subject} is wrong",
        many="{count} clocks are wrong",
        meaning="A clock differs from the others by more than a minute. If it is this host's, nothing is minted or "
        "revoked, because a wrong clock could end an overlap too early.",
        otherwise="If it is the host's, no PAT is rotated until it is right, except one with less than 6 hours left.",
        command="timedatectl status",
        fix="Set the clock, and see to it that NTP works. rotator continues by itself.",
        names={
            "host": "this host",
            "database": "the database",
            "azure_devops": "Azure DevOps",
            "entra": "Entra",
            "key_vault": "Key Vault",
        },
    ),
    ConditionKind.TIMELINE_CHANGED: Advice(
        one="the server of the database was replaced or restored",
        many="the server of the database was replaced or restored",
        meaning="PostgreSQL is on a new timeline, so the latest commits may be lost. Nothing is minted or revoked "
        "until every record has been compared with what its secret holds.",
        otherwise="Usually the next run settles it. Records that are older than their secrets stay blocked.",
        command="rotator inventory rebuild --dry-run",
        fix="If records are blocked, `rotator inventory rebuild` corrects them from the vaults.",
    ),
    ConditionKind.PAT_LEFT_BEHIND: Advice(
        one="the PAT {subject} was left behind",
        many="{count} PATs were left behind",
        meaning="A rotation that is over left a PAT alive, and nothing proves that it may be revoked: consumers may "
        "use it.",
        otherwise="The PAT stays valid until it expires, and nobody rotates it. If somebody uses it, that fails then.",
        command="rotator scan -o wide",
        fix="First find out whether anybody uses it. If somebody does, adopt it: `rotator inventory adopt {subject}`. "
        "Only if nobody does, revoke it: `rotator recover --revoke {subject}`.",
    ),
    ConditionKind.ALL_PAUSED: Advice(
        one="everything is paused",
        many="everything is paused",
        meaning="A person ran `rotator inventory pause --all`. Runs finish what was interrupted, and look, but neither "
        "rotate a PAT nor revoke an old PAT.",
        otherwise="It lasts until a person ends it, even if PATs expire: `rotator status --check` names them.",
        command="rotator inventory resume --all",
        fix="When the reason for the pause is over, resume. The audit log (`all_paused`) says who paused, and why.",
        mends=True,
    ),
    ConditionKind.TOKEN_CACHE_DAMAGED: Advice(
        one="the token cache {subject} cannot be read",
        many="{count} token caches cannot be read",
        meaning="Both the token cache and its backup, the previous generation, are damaged, so the sign-ins of all "
        "accounts are lost. The key is not the cause: with a wrong key commands end with `token_cache_key`.",
        otherwise="No account is signed in, so no PAT is rotated. When the first PAT expires, its consumers fail.",
        command="rotator accounts",
        fix="Sign every account in again: `rotator login`, with the account's name. The first sign-in replaces the "
        "damaged cache. If a command ends with `token_cache_key`: put the old key into `token_cache.previous_keys`.",
    ),
    ConditionKind.TOKEN_CACHE_UNSAVED: Advice(
        one="new tokens cannot be saved to the token cache {subject}",
        many="new tokens cannot be saved to {count} token caches",
        meaning="Entra gave new tokens, and they cannot be written: the disk is full, the folder is read-only, or the "
        "database is away. The process that got them uses them from memory.",
        otherwise="Work continues until the process ends. Then the tokens from before are used again, which may have "
        "become too old: a person would have to sign in.",
        command="rotator accounts",
        fix="Make room, make the folder writable, or bring the database back. rotator saves the tokens by itself, at "
        "the next refresh.",
    ),
    ConditionKind.LISTING_DAMAGED: Advice(
        one="some PATs of {subject} cannot be read",
        many="some PATs in {count} organizations cannot be read",
        meaning="Azure DevOps lists entries that rotator does not understand. They are left alone, and are never taken "
        "for gone.",
        otherwise="The other PATs are rotated. A managed PAT behind such an entry is not.",
        command="rotator audit list --event listing_damaged",
        fix="Look at the PATs with these ids in Azure DevOps, and replace those that look wrong there.",
    ),
    ConditionKind.REVOCATION_PENDING: Advice(
        one="the revocation of {subject} is not confirmed",
        many="the revocations of {count} PATs are not confirmed",
        meaning="Azure DevOps was asked 15 minutes ago or earlier to revoke an old PAT, and does not show that it did.",
        otherwise="Each run asks again. Until the old PAT is revoked or expires, whoever has its value can use it. "
        "Consumers read the current PAT, which is not affected.",
        command="rotator status",
        fix="If it lasts until the morning, revoke the PAT with the id {subject} in Azure DevOps, as the account's "
        "user: `rotator status` says which account, and when it expires. Do not touch the current PAT, which often has "
        "the same name there.",
    ),
    ConditionKind.AUDIT_BROKEN: Advice(
        one="the audit log was altered",
        many="the audit log was altered",
        meaning="An event was changed, removed or moved after it was written. rotator never does that, and the "
        "database normally refuses it: somebody changed the tables past its triggers, or a backup was restored over "
        "newer events.",
        otherwise="Rotations continue, and no PAT fails because of the log. But it proves nothing from that event on, "
        "and whoever changed it may have changed other tables: `rotator inventory pause --all` stops rotations until "
        "you know.",
        command="rotator audit verify --anchors",
        fix="Keep a copy of the database as it is. The command, which changes nothing, names the first wrong event: "
        "compare that one and all later ones with a backup, and find out who could write to the database. Only if you "
        "restored a backup yourselves, record what the log lacks: `rotator audit accept-gap --reason TEXT`.",
    ),
    ConditionKind.ADOPTION_BLOCKED: Advice(
        one="the PAT {subject} was not adopted",
        many="{count} PATs were not adopted",
        meaning="A rule of the policy says `adopt: true` and covers the PAT, but a person must decide something first: "
        "`rotator plan` says what.",
        otherwise="The PAT is not managed, so rotator does not rotate it. When it expires, its consumers fail.",
        command="rotator plan",
        fix="Do what `rotator plan` says for {subject}. Adopting a PAT changes no secret at once, but its first "
        "rotation overwrites the secret that its rule names.",
    ),
    ConditionKind.PROBE_FAILING: Advice(
        one="Azure DevOps refuses the value of {subject}",
        many="Azure DevOps refuses the values of {count} PATs",
        meaning="The daemon read the value as consumers read it, twice, and Azure DevOps refused it each time.",
        otherwise="Consumers fail. The daemon tries the value about every hour, and tells you when it works. It "
        "does not rotate the PAT because of this.",
        command="rotator audit list --name {subject} --since 2d",
        fix="Do what the cause needs. Only if the PAT or its secret is the cause: `rotator rotate {subject}` stores a "
        "new PAT.",
        reasons={
            "owner_must_sign_in": "Azure DevOps lists the PAT as active and refuses it: its user must sign in to Azure "
            "DevOps in a browser, as after a change of the password. A new PAT would be refused too.",
            "sign_in_required": "The account must sign in again: its sign-in is refused too.",
            "secret_changed": "The secret does not hold the value that rotator wrote: somebody else wrote it.",
            "wrong_identity": "The secret holds a PAT of another user: somebody else wrote it.",
            "access_lost": "The PAT is genuine, but its user has no access to the organization any more. A new PAT "
            "would be refused too.",
            "pat_expired": "The PAT has expired.",
            "pat_revoked": "The PAT was revoked outside rotator.",
            "secret_missing": "The secret is gone, so there is nothing that consumers could read.",
            "secret_disabled": "The secret is disabled, so consumers cannot read it.",
        },
    ),
    ConditionKind.RECEIVER_FAILING: Advice(
        one="the receiver {subject} takes no notifications",
        many="{count} receivers take no notifications",
        meaning="Notifications to a receiver of `notify` are refused or not answered. They wait, and are sent again at "
        "growing intervals, up to an hour; nothing is lost.",
        otherwise="Nobody hears of anything through this receiver. Rotations are not affected.",
        command="rotator notify test {subject}",
        fix="Correct the receiver's `url` in the settings, or bring the service back.",
    ),
    ConditionKind.HOOK_FAILING: Advice(
        one="the hook {subject} is failing",
        many="{count} hooks are failing",
        meaning="A command or a webhook of `hooks` failed, took too long, or cannot be called at all. What it printed "
        "is in the audit log. Each call that failed is repeated at growing intervals, an hour at most.",
        otherwise="What the hook does is not done: if it restarts a consumer, that keeps the old PAT. If the hook is "
        "required, the old PAT is not revoked, and the call is repeated until it succeeds or that PAT expires. If it "
        "is not required, the old PAT is revoked as planned, and a call is dropped after ten failed tries.",
        command="rotator audit list --event hook_failed",
        fix="Correct what made the hook fail. rotator repeats the calls that wait. `rotator hooks test` really "
        "runs each hook, with a made-up event, and shows whether the hook works now; it repeats none of them.",
    ),
    ConditionKind.JOB_STALLED: Advice(
        one="the job {subject} no longer succeeds",
        many="{count} jobs no longer succeed",
        meaning="The job has not succeeded for three of its intervals, and for 15 minutes at least: it fails each "
        "time, or it has stopped making progress. The other jobs continue.",
        otherwise="What the job is for does not happen. Without `work` or `reconcile` no PAT is rotated; without "
        "`refresh` sign-ins end; without `probe` and `verify_audit` nobody hears of a value that does not sign in, or "
        "of an altered log; without `deliver` and `hooks` nobody is notified, and no hook is called.",
        command="rotator audit list --event job_stalled",
        fix="Do what the message asks for; the lines `job_failed` in the log name each failure. If it is a bug, report "
        "the `stack` of the line `bug_found`. If the job makes no progress, restart the daemon.",
        reasons={
            "internal": "It is a bug in rotator.",
            "no_progress": "It was begun and does not end, or it is never begun.",
            "not_done": "It could not try everything, and nothing that is known to be down explains that.",
        },
    ),
    ConditionKind.DAEMONS_MIXED: Advice(
        one="{subject} that share the database work with different versions or policies",
        many="daemons that share the database work with different versions or policies",
        meaning="In the middle of an upgrade, or while a new policy is brought to one host after the other, that is "
        "as it should be. If it lasts, a host was left out.",
        otherwise="Each daemon works by its own policy: what one of them finds due is rotated, whatever the others "
        "say. No PAT waits for this to end.",
        command="rotator doctor",
        fix="Install the same version, and the same policy at the same place, on every host, and restart the daemons "
        "that `rotator doctor` finds different. It is over ten minutes after the last difference.",
    ),
}
"""By condition. Each is in the runbook under its own name."""


def make_command(*names: str) -> str:
    """Return the command that shows entries of the runbook."""
    return f"rotator runbook {' '.join(names)}"


def make_anchor(name: str) -> str:
    """Return where the runbook tells of a condition or an event."""
    return f"{PAGE}#{name}"
