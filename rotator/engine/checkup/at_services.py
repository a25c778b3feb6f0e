"""Checks of the services: each account's sign-in and consent, each organization, each vault and secret."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from rotator.domain.account import Account
from rotator.domain.checkup import Remark, fail, praise, warn
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.policy import RuleAction
from rotator.domain.words import say_count
from rotator.engine.checkup.patient import Look, Patient
from rotator.engine.listing import belongs
from rotator.engine.preflight import check_history
from rotator.errors import DeniedError, RotatorError, TransientError
from rotator.ports.pat_service import PatFilter
from rotator.ports.secret_store import SecretLocation, SecretVersion

NOT_THERE = "rotator-doctor"
"""The name of a secret that nobody has: by it a vault says what it would let us do."""
EVERYTHING = "user_impersonation"
LEAST_PERMISSIONS = ("vso.pats", "vso.pats_manage")
"""Delegated permissions for Azure DevOps: the first covers all, the others are what PATs need."""


def plan_sign_ins(patient: Patient) -> Iterator[Look]:
    """Look at each account's sign-in."""
    for account in patient.accounts:
        yield Look(account.name, partial(_check_sign_in, patient, account))


def _check_sign_in(patient: Patient, account: Account) -> Iterator[Remark]:
    """Entra still gives tokens for it: it is asked, whatever the token cache holds."""
    began_at = patient.clock.now().replace(microsecond=0)
    sign_in = patient.open_sign_in()
    status = sign_in.refresh(account.name, renews=True)
    if status.refreshed_at is None or status.refreshed_at < began_at:
        yield warn(
            account.name,
            "Entra could not be asked; the access token of the last sign-in still works for less than an hour",
            "Check that this host reaches Entra, then run `rotator doctor` again.",
        )
        return
    yield praise(account.name, f"{account.username} is signed in; Entra has just refreshed the sign-in")


def plan_consents(patient: Patient) -> Iterator[Look]:
    """Look at what each account's sign-in was consented to."""
    for account in patient.accounts:
        yield Look(account.name, partial(_check_consent, patient, account))


def _check_consent(patient: Patient, account: Account) -> Iterator[Remark]:
    """The token was granted the permissions that PATs need, by Entra's own answer."""
    granted = patient.open_sign_in().status(account.name).granted
    if not granted:
        return
    missing = [] if EVERYTHING in granted else [name for name in LEAST_PERMISSIONS if name not in granted]
    if missing:
        yield fail(
            account.name,
            f"Entra grants {', '.join(granted)}, and not {' and '.join(missing)}: Azure DevOps may refuse all",
            f"Have an admin of the tenant {account.tenant} add {' and '.join(missing)} (delegated, Azure DevOps) to "
            f"the app registration and consent to it, then `rotator login {account.name}`.",
        )
    else:
        yield praise(account.name, f"Entra grants {', '.join(granted)}")


def plan_organizations(patient: Patient) -> Iterator[Look]:
    """Look at each organization of each account."""
    for account in patient.accounts:
        for organization in account.organizations:
            subject = f"{account.name}/{organization}"
            yield Look(subject, partial(_check_organization, patient, account.name, organization, subject))


def _check_organization(patient: Patient, account: str, organization: str, subject: str) -> Iterator[Remark]:
    """It knows the account, and lists its PATs."""
    pats = patient.open_pats()
    who = pats.fetch_identity(account, organization)
    listed = pats.fetch_pats(account, organization, PatFilter.ACTIVE)
    if listed.unreadable:
        yield warn(
            subject,
            f"{len(listed.unreadable)} of the PATs that it lists cannot be read, so nobody knows what they are",
            "See `rotator scan -v`, and report what the service sends.",
        )
        return
    own = sum(belongs(pat, who.organization_id) for pat in listed)
    yield praise(subject, f"signed in as {who.display_name}; {say_count(own, 'active PAT')}")


def plan_vaults(patient: Patient) -> Iterator[Look]:
    """Look at each vault that the policy can name, as each account that would write to it."""
    places: dict[tuple[str, str], None] = {}
    for rule in patient.open_policy().rules:
        if rule.action is not RuleAction.ROTATE:
            continue
        for account in patient.accounts:
            if any(rule.match.may_be_met(account.name, organization) for organization in account.organizations):
                places[rule.vault, account.name if patient.vaults_by_account else ""] = None
    for vault, writer in places:
        subject = f"{vault} as {writer}" if writer else vault
        yield Look(subject, partial(_check_vault, patient, vault, writer, subject))


def _check_vault(patient: Patient, vault: str, account: str, subject: str) -> Iterator[Remark]:
    """It lets us list, get and set: shown by a secret that does not exist, so nothing is changed."""
    _prove_access(patient, SecretLocation(vault, NOT_THERE, account))
    yield praise(subject, "list, get and set are allowed")


def _prove_access(patient: Patient, location: SecretLocation) -> SecretVersion | None:
    """Do what the port does. What all secrets of a vault meet is raised alike for each, so that it is told once.

    A vault that did not answer is not asked again.
    """
    silent = patient.vault_errors.get((location.vault, ""))
    if silent is not None:
        raise silent
    try:
        return patient.open_vaults().prove_access(location)
    except TransientError as error:
        raise patient.vault_errors.setdefault((location.vault, ""), error) from None
    except DeniedError as error:
        raise patient.vault_errors.setdefault((location.vault, error.code), error) from None


def plan_secrets(patient: Patient) -> Iterator[Look]:
    """Look at the secret of each ManagedPat."""
    with patient.open_database().read() as reading:
        records = reading.inventory.load_all()
    for pat in (record for record in records if not record.is_canary):
        yield Look(pat.name, partial(_check_secret, patient, pat))


def _check_secret(patient: Patient, pat: ManagedPat) -> Iterator[Remark]:
    """It can be read and written, its name is free or ours, and what it holds is explained."""
    run, location = patient.open_run(), SecretLocation.of(pat)
    newest = _prove_access(patient, location)
    try:
        check_history(run, pat, newest)
    except RotatorError as error:
        yield fail(pat.name, error.message, error.fix)
        return
    if newest is None and pat.secret_version is not None:
        yield fail(
            pat.name,
            f"secret {pat.secret_name} in {pat.vault} is gone: consumers read nothing",
            f"Find out who deleted it; then `rotator rotate {pat.name}` writes a new value.",
        )
