-- What is on the page of `rotator audit report`, once more. Each query is named by the comment before it; `:now` is
-- when the page was made, `:owner` the user of the only account.

-- views
CREATE TEMP VIEW known AS
    SELECT *, strftime('%Y-%m-%d %H:%M:%S', occurred_at) AS at, replace(event, '_', ' ') AS what,
        json_extract(details, '$.reason') AS reason, json_extract(details, '$.command') AS command,
        json_extract(details, '$.authorization_id') AS pat
    FROM audit_event;
CREATE TEMP VIEW named AS
    SELECT name, name AS subject FROM managed_pat
    UNION SELECT json_extract(details, '$.new_name'), json_extract(details, '$.old_name') FROM audit_event
    WHERE event = 'pat_renamed';
CREATE TEMP VIEW trail AS
    SELECT name, max(CASE WHEN event = 'pat_adopted' THEN sequence END) AS managed,
        max(CASE WHEN event IN ('pat_adopted', 'pat_updated', 'pat_moved', 'pat_drifted') THEN sequence END) AS reach,
        max(CASE WHEN event = 'overlap_started' THEN sequence END) AS rotated
    FROM named JOIN audit_event USING (subject) GROUP BY name;
CREATE TEMP VIEW record AS
    SELECT p.*, t.managed, t.reach, t.rotated,
        min(valid_to, CASE WHEN all_organizations THEN '2026-12-01T00:00:00.000000Z' ELSE '9' END) AS ends,
        julianday(valid_to) - CASE WHEN display_name LIKE 'ci-%' THEN 7.0
            ELSE (julianday(valid_to) - julianday(valid_from)) * 0.33 END AS due
    FROM managed_pat p JOIN trail t USING (name);
CREATE TEMP VIEW shown AS
    SELECT sequence, event, at, what, subject, actor, coalesce((
        SELECT group_concat(replace(key, '_', ' ') || ': ' || CASE type WHEN 'true' THEN 'yes' WHEN 'false' THEN 'no' ELSE replace(value, '+00:00', 'Z') END, '; ') FROM json_each(details) WHERE key NOT IN
            ('account', 'organization', 'reason', 'command', 'rotation_id', 'e2e_id', 'activity_id', 'request_id')), 'none')
        AS said, coalesce(reason, 'none') AS reason
    FROM known;
CREATE TEMP VIEW by_hand AS
    SELECT run_id, min(sequence) AS number,
        coalesce(min(CASE WHEN event <> 'policy_changed' THEN sequence END), min(sequence)) AS named FROM known
    WHERE reason NOT NULL OR command NOT NULL OR event IN ('pat_adopted', 'pat_paused', 'pat_renamed', 'pat_forgotten') GROUP BY run_id;

-- pats
SELECT name, account, :owner, organization, display_name, at, managed, actor, rtrim(vault, '/') || '/' || secret_name
FROM record JOIN (SELECT sequence, at, actor FROM known) k ON k.sequence = managed ORDER BY ends, name;

-- reach
SELECT name, CASE WHEN scope = 'app_token' THEN 'full access' ELSE scope END,
    CASE WHEN all_organizations THEN 'all' ELSE organization END, at, reach, CASE
        WHEN json_extract(details, '$.scope') = 'app_token' THEN 'full access' ELSE json_extract(details, '$.scope') END
    || ', ' || CASE WHEN json_extract(details, '$.all_organizations') THEN 'all organizations'
        ELSE json_extract(details, '$.organization') END
FROM record JOIN (SELECT sequence, at, details FROM known) k ON k.sequence = reach ORDER BY ends, name;

-- ages
WITH aged AS (
    SELECT *, (julianday(ends) - julianday(:now)) * 24 AS rest, strftime('%s', :now) - strftime('%s', valid_from) AS age,
        strftime('%s', due) - strftime('%s', valid_from) AS exact
    FROM record)
SELECT name, strftime('%Y-%m-%d %H:%M:%S', ends),
    CASE WHEN rest < 47.5 THEN printf('%.0f h', rest) ELSE printf('%.0f days', rest / 24) END,
    coalesce(at, 'never'), coalesce(rotated, 'none'), CASE
        WHEN age < 120 THEN age || ' s'
        WHEN age < 7170 THEN printf('%.0f min', age / 60.0)
        WHEN age < 171000 THEN printf('%.0f h', age / 3600.0)
        ELSE printf('%.0f days', age / 86400.0) END, CASE
        WHEN all_organizations THEN 'none'
        ELSE rtrim(CASE WHEN exact >= 86400 THEN (exact / 86400) || 'd ' ELSE '' END
            || CASE WHEN exact % 86400 >= 3600 THEN (exact % 86400 / 3600) || 'h ' ELSE '' END
            || CASE WHEN exact % 3600 >= 60 THEN (exact % 3600 / 60) || 'm ' ELSE '' END
            || CASE WHEN exact % 60 THEN (exact % 60) || 's' ELSE '' END) END,
    CASE WHEN display_name LIKE '%-manual' THEN 'hands-off' WHEN display_name LIKE 'ci-%' THEN 'ci'
        ELSE 'everything-else' END
FROM aged LEFT JOIN (SELECT sequence, at FROM known) k ON k.sequence = rotated ORDER BY ends, name;

-- time-left
WITH rest AS (SELECT julianday(ends) - julianday(:now) AS days FROM record)
SELECT 'expired', count(*) FROM rest WHERE days <= 0
UNION ALL SELECT 'less than 1 day', count(*) FROM rest WHERE days > 0 AND days < 1
UNION ALL SELECT '1 to 7 days', count(*) FROM rest WHERE days >= 1 AND days < 7
UNION ALL SELECT '7 to 30 days', count(*) FROM rest WHERE days >= 7 AND days < 30
UNION ALL SELECT '30 to 90 days', count(*) FROM rest WHERE days >= 30 AND days < 90
UNION ALL SELECT '90 days or more', count(*) FROM rest WHERE days >= 90;

-- unmanaged
SELECT authorization_id, display_name, account, organization, scope, strftime('%Y-%m-%d %H:%M:%S', valid_from),
    strftime('%Y-%m-%d %H:%M:%S', valid_to), printf('%.0f days', julianday(valid_to) - julianday(valid_from))
    || CASE WHEN julianday(valid_to) - julianday(valid_from) > 80 THEN ', too long' ELSE '' END
FROM untracked_pat
WHERE authorization_id NOT IN (SELECT authorization_id FROM managed_pat WHERE authorization_id NOT NULL)
    AND authorization_id NOT IN (SELECT new_authorization_id FROM rotation WHERE new_authorization_id NOT NULL)
ORDER BY valid_to, display_name;

-- changes
SELECT sequence, at, what, subject, actor, said, reason FROM shown
WHERE event IN ('pat_adopted', 'pat_taken_over', 'creation_started', 'pat_created', 'pat_updated', 'pat_moved', 'pat_drifted',
    'inventory_rebuilt', 'pat_forgotten', 'creation_dropped', 'pat_renamed', 'pat_paused', 'pat_resumed')
ORDER BY sequence;

-- policies
/* First uses of one policy, with no other in between, are one row. */
WITH first_use AS (
    SELECT *, json_extract(details, '$.sha256') AS digest,
        json_extract(details, '$.sha256') IS NOT lag(json_extract(details, '$.sha256')) OVER (ORDER BY sequence) AS is_new
    FROM known WHERE event = 'policy_changed'),
placed AS (SELECT *, sum(is_new) OVER (ORDER BY sequence) AS place FROM first_use ORDER BY sequence),
merged AS (
    SELECT min(sequence) AS first, group_concat(sequence, ', ') AS numbers, min(at) AS began, digest,
        group_concat(actor, '; ') AS actors, group_concat(coalesce(reason, 'none given'), '; ') AS reasons,
        group_concat(coalesce(command, 'not in the log'), '; ') AS commands
    FROM placed GROUP BY place)
SELECT numbers, dense_rank() OVER (ORDER BY (SELECT min(first) FROM merged f WHERE f.digest = m.digest)), began,
    coalesce(lead(began) OVER (ORDER BY first), 'the end of the log'), digest, actors, reasons, commands
FROM merged m ORDER BY first;

-- sign-ins
SELECT sequence, at, what, subject, actor, said, reason FROM shown WHERE event LIKE 'sign%' ORDER BY sequence;

-- sign-in-sums
SELECT what, subject, count(*), min(at), min(sequence), max(at), max(sequence) FROM known WHERE event LIKE 'sign%'
GROUP BY event, subject ORDER BY event, subject;

-- anchors
SELECT subject, count(*), min(at), min(sequence), max(at), max(sequence) FROM known WHERE event = 'log_anchored'
GROUP BY subject ORDER BY subject;

-- gaps
SELECT sequence, at, what, subject, actor, said, reason FROM shown WHERE event = 'gap_accepted' ORDER BY sequence;

-- failed-events
SELECT what, count(*), min(sequence), max(sequence) FROM known WHERE outcome IN ('failed', 'unknown')
GROUP BY event ORDER BY event;

-- by-hand
SELECT number, max(sequence), count(*), (SELECT at FROM known WHERE sequence = number),
    (SELECT what FROM known WHERE sequence = named), (SELECT subject FROM known WHERE sequence = named), actor,
    coalesce((SELECT reason FROM known WHERE sequence = number), 'none given'),
    coalesce((SELECT command FROM known WHERE sequence = number), 'not in the log')
FROM by_hand JOIN known k USING (run_id) WHERE k.sequence >= number GROUP BY number ORDER BY number;

-- outcomes
WITH fate AS (
    SELECT json_extract(details, '$.rotation_id') AS id, max(event = 'rotation_completed') AS completed,
        max(event = 'rotation_abandoned') AS abandoned, max(event = 'pat_revoked') AS revoked
    FROM audit_event GROUP BY 1),
begun AS (
    SELECT number, json_extract(details, '$.rotation_id') AS id, json_extract(details, '$.predecessor_id') AS old
    FROM by_hand JOIN audit_event USING (run_id) WHERE event = 'rotation_planned')
SELECT number, count(id), count(nullif(old, '')), CAST(total(completed) AS INTEGER), CAST(total(abandoned AND NOT completed) AS INTEGER),
    CAST(total(f.revoked AND NOT completed AND NOT abandoned) AS INTEGER),
    CAST(total(NOT completed AND NOT abandoned AND NOT f.revoked) AS INTEGER), count(g.sequence), max(g.at),
    max(g.sequence), count(CASE WHEN NOT EXISTS (SELECT 1 FROM known v WHERE v.event = 'overlap_started'
        AND json_extract(v.details, '$.rotation_id') = id) THEN g.sequence END)
FROM by_hand LEFT JOIN begun USING (number) LEFT JOIN fate f USING (id)
    LEFT JOIN known g ON g.event = 'pat_revoked' AND g.pat = old
GROUP BY number ORDER BY number;

-- ordered
/* In the vault: read back from there. Gone: of the PAT that it replaces, by whatever rotation. */
WITH part AS (SELECT *, json_extract(details, '$.rotation_id') AS rotation FROM known)
SELECT p.subject, o.at, o.sequence, o.actor, coalesce(o.reason, 'none given'),
    coalesce(v.at, CASE WHEN EXISTS (SELECT 1 FROM part f WHERE f.rotation = p.rotation
        AND event IN ('rotation_completed', 'rotation_abandoned', 'pat_revoked')) THEN 'never' ELSE 'not yet' END),
    coalesce(v.sequence, 'none'),
    coalesce(old, 'none'), CASE WHEN old IS NULL THEN 'none' ELSE coalesce(g.at, CASE WHEN v.sequence IS NULL
        AND EXISTS (SELECT 1 FROM part f WHERE f.rotation = p.rotation AND event IN ('rotation_abandoned', 'pat_revoked'))
        THEN 'no' ELSE 'not yet' END) END, coalesce(g.sequence, 'none'),
    CASE WHEN EXISTS (SELECT 1 FROM part f WHERE f.rotation = p.rotation AND event = 'rotation_completed') THEN 'completed'
        WHEN EXISTS (SELECT 1 FROM part f WHERE f.rotation = p.rotation AND event = 'rotation_abandoned') THEN 'abandoned'
        WHEN EXISTS (SELECT 1 FROM part f WHERE f.rotation = p.rotation AND event = 'pat_revoked') THEN 'undone'
        ELSE 'not ended' END,
    (SELECT json_extract(f.details, '$.code') FROM part f WHERE f.rotation = p.rotation AND event = 'rotation_abandoned'),
    (SELECT min(s.sequence) FROM part s JOIN part q ON q.rotation = s.rotation AND q.event = 'rotation_planned'
        WHERE s.rotation <> p.rotation AND s.sequence > p.sequence AND CASE s.event
            WHEN 'overlap_started' THEN json_extract(q.details, '$.predecessor_id') = old
            WHEN 'pat_created' THEN old IS NULL AND s.subject = p.subject END),
    round((julianday(g.occurred_at) - julianday(o.occurred_at)) * 86400)
FROM by_hand b JOIN known o ON o.sequence = b.number
    JOIN (SELECT *, nullif(json_extract(details, '$.predecessor_id'), '') AS old FROM part) p
        ON p.run_id = b.run_id AND p.event = 'rotation_planned'
    LEFT JOIN part v ON v.rotation = p.rotation AND v.event IN ('overlap_started', 'pat_created')
    LEFT JOIN known g ON g.event = 'pat_revoked' AND g.pat = old
ORDER BY p.sequence;

-- revocations
SELECT subject, sum(event = 'revocation_requested'), sum(event = 'pat_revoked'),
    coalesce(min(CASE WHEN event = 'pat_revoked' THEN at END), 'none'),
    coalesce(min(CASE WHEN event = 'pat_revoked' THEN sequence END), 'none'),
    coalesce(max(CASE WHEN event = 'pat_revoked' THEN at END), 'none'),
    coalesce(max(CASE WHEN event = 'pat_revoked' THEN sequence END), 'none'), (
    SELECT group_concat(sequence, ' ') FROM (
        SELECT sequence FROM known WHERE event = 'pat_revoked' AND subject = k.subject ORDER BY sequence))
FROM known k WHERE event IN ('revocation_requested', 'pat_revoked') GROUP BY subject ORDER BY subject;

-- revoked-why
SELECT json_extract(details, '$.why'), count(*), min(at), min(sequence), max(at), max(sequence) FROM known
WHERE event = 'pat_revoked' GROUP BY 1 ORDER BY 1;

-- gone
SELECT sequence, at, subject, pat, json_extract(details, '$.why') FROM known WHERE event = 'pat_revoked'
ORDER BY sequence;

-- fates
WITH rotation AS (
    SELECT max(event = 'rotation_completed') AS completed, max(event = 'rotation_abandoned') AS abandoned,
        max(event = 'pat_revoked') AS revoked
    FROM audit_event GROUP BY json_extract(details, '$.rotation_id') HAVING max(event = 'rotation_planned'))
SELECT count(*), sum(completed), sum(abandoned AND NOT completed), sum(revoked AND NOT completed AND NOT abandoned),
    sum(NOT completed AND NOT abandoned AND NOT revoked)
FROM rotation;

-- slowest proofs
SELECT r.subject, max(julianday(r.occurred_at) - julianday(q.occurred_at)) * 86400, r.sequence
FROM known r JOIN known q ON q.event IN ('revoke_started', 'revocation_requested') AND q.pat = r.pat
    AND q.sequence = (SELECT min(sequence) FROM known f WHERE f.event IN ('revoke_started', 'revocation_requested')
        AND f.pat = r.pat)
WHERE r.event = 'pat_revoked' GROUP BY r.subject;

-- pending
SELECT authorization_id, name, strftime('%Y-%m-%d %H:%M:%S', since), strftime('%Y-%m-%d %H:%M:%S', requested_at),
    requests FROM pending_revocation;

-- living
SELECT predecessor_id, name, 'its consumers get time to switch', at, sequence,
    strftime('%Y-%m-%d %H:%M:%S', overlap_until)
FROM rotation r JOIN trail t USING (name) JOIN (SELECT sequence, at FROM known) k ON k.sequence = t.rotated
WHERE state = 'overlapping' ORDER BY created_at;

-- service-logs
SELECT organization, at, max(sequence), strftime('%Y-%m-%d %H:%M:%S', json_extract(details, '$.until')),
    json_extract(details, '$.explained'), json_extract(details, '$.foreign'), json_extract(details, '$.lacking'),
    json_extract(details, '$.unreadable'), 'none'
FROM (SELECT *, substr(subject, instr(subject, '/') + 1) AS organization FROM known)
WHERE event = 'service_log_compared' GROUP BY organization ORDER BY organization;

-- compared spans
/* In seconds: a span that begins before the end of an earlier one counts from there on. */
WITH spans AS (
    SELECT julianday(json_extract(details, '$.since')) AS begins, julianday(json_extract(details, '$.until')) AS ends
    FROM audit_event WHERE event = 'service_log_compared'),
marked AS (
    SELECT *, max(ends) OVER (ORDER BY begins, ends ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM spans)
SELECT sum(max(0, ends - max(begins, coalesce(before, begins)))) * 86400,
    (julianday(:now) - julianday('2000-01-01')) * 86400 FROM marked;

-- foreign
SELECT sequence, at, what, subject, actor, said, reason FROM shown
WHERE event IN ('outside_change_found', 'leak_reported') ORDER BY sequence;

-- lacking
SELECT sequence, at, what, subject, actor, said, reason FROM shown
WHERE event = 'own_changes_unlisted' ORDER BY sequence;

-- user-pats
SELECT organization, at, max(sequence), json_extract(details, '$.users'), json_extract(details, '$.denied'),
    json_extract(details, '$.skipped'), json_extract(details, '$.pats'), json_extract(details, '$.full_access'),
    json_extract(details, '$.long_lived'), json_extract(details, '$.all_organizations'),
    json_extract(details, '$.ownerless'), json_extract(details, '$.managed'),
    coalesce(json_extract(details, '$.unreadable'), 0)
FROM (SELECT *, substr(subject, instr(subject, '/') + 1) AS organization FROM known)
WHERE event = 'organization_scanned' GROUP BY organization ORDER BY organization;

-- timeline
SELECT CAST((julianday(occurred_at) - julianday('2000-01-01')) / 3650 AS INTEGER), sum(event = 'rotation_planned'),
    sum(event = 'rotation_completed'),
    sum(event IN ('rotation_failed', 'rotation_blocked', 'rotation_frozen', 'rotation_abandoned')),
    sum(event = 'pat_revoked'), min(sequence), max(sequence)
FROM known WHERE event IN ('rotation_planned', 'rotation_completed', 'pat_revoked', 'rotation_failed',
    'rotation_blocked', 'rotation_frozen', 'rotation_abandoned') GROUP BY 1;

-- conditions
/* A span begins with the first event that begins its condition, and ends with the first one after it that ends it. */
WITH marks AS (
    SELECT kind, subject, sequence, begins, occurred_at, json_extract(details, '$.code') AS code
    FROM audit_event JOIN condition_event USING (event)),
begun AS (
    SELECT * FROM marks m WHERE begins AND coalesce((
        SELECT begins FROM marks o WHERE o.kind = m.kind AND o.subject = m.subject AND o.sequence < m.sequence
        ORDER BY o.sequence DESC LIMIT 1), 0) = 0),
spans AS (
    SELECT b.*, (
        SELECT min(sequence) FROM marks m WHERE m.kind = b.kind AND m.subject = b.subject AND NOT m.begins
            AND m.sequence > b.sequence) AS ended FROM begun b)
SELECT kind IN ('rotation_blocked', 'pat_expiring', 'pat_vanished', 'clones_abandoned', 'lifetime_shortened',
    'pat_left_behind', 'revocation_pending', 'adoption_blocked'), s.sequence, replace(kind, '_', ' '), s.subject,
    coalesce(code, 'none'), s.occurred_at, e.occurred_at, coalesce(ended, 'none')
FROM spans s LEFT JOIN audit_event e ON e.sequence = ended ORDER BY s.sequence;

-- uses
/* A value is in use from its adoption, creation or overlap to the next one of the same PAT, or until it is forgotten. */
WITH turns AS (
    SELECT subject, sequence, occurred_at, at, event, lead(sequence) OVER w AS next, lead(at) OVER w AS ended,
        coalesce(lead(occurred_at) OVER w, :now) AS until
    FROM known WHERE event IN ('pat_adopted', 'pat_created', 'overlap_started', 'pat_forgotten')
    WINDOW w AS (PARTITION BY subject ORDER BY sequence)),
ranked AS (
    SELECT *, count(*) OVER (PARTITION BY subject) AS number, row_number() OVER (
        PARTITION BY subject ORDER BY julianday(until) - julianday(occurred_at) DESC, sequence) AS place
    FROM turns WHERE event <> 'pat_forgotten')
SELECT coalesce((SELECT name FROM named WHERE subject = r.subject AND name <> subject), subject) AS name, number,
    occurred_at, until, at, sequence, coalesce(ended, 'in use'), coalesce(next, 'none')
FROM ranked r WHERE place = 1 ORDER BY name;

-- outlived
/* From the last event that names the overlap's end to the proof: whatever was requested or completed in between.
   What was never to be revoked, or is in use again, did not outlive anything. */
WITH ended AS (
    SELECT json_extract(details, '$.rotation_id') AS rotation, max(sequence) AS told FROM known
    WHERE event IN ('overlap_started', 'overlap_released') GROUP BY 1),
old AS (
    SELECT t.subject, p.sequence AS planned, e.told, json_extract(p.details, '$.predecessor_id') AS id,
        json_extract(t.details, '$.overlap_until') AS until, e.rotation
    FROM known p JOIN ended e ON e.rotation = json_extract(p.details, '$.rotation_id')
    JOIN known t ON t.sequence = e.told WHERE p.event = 'rotation_planned'),
proven AS (
    SELECT o.*, (SELECT min(sequence) FROM known g WHERE g.event = 'pat_revoked' AND g.pat = o.id
            AND g.sequence > o.planned) AS gone,
        (SELECT min(sequence) FROM known q WHERE q.event IN ('revoke_started', 'revocation_requested')
            AND q.pat = o.id) AS asked,
        EXISTS (SELECT 1 FROM known q WHERE q.event = 'revocation_requested' AND q.pat = o.id) AS accepted
    FROM old o
    WHERE NOT EXISTS (SELECT 1 FROM known k WHERE k.sequence > o.told AND (
        (k.event = 'revocation_dropped' AND k.pat = o.id) OR (json_extract(k.details, '$.rotation_id') = o.rotation
        AND k.event IN ('predecessor_kept', 'predecessor_expired', 'clone_lost', 'rotation_closed')))))
SELECT p.subject, p.id, strftime('%Y-%m-%d %H:%M:%S', until), told,
    coalesce(q.at || CASE WHEN accepted THEN '' ELSE ', no answer that it was accepted' END,
        CASE WHEN gone NOT NULL THEN 'not in the log' ELSE 'not yet' END), coalesce(asked, 'none'),
    coalesce(g.at, 'not yet'), coalesce(gone, 'none'),
    round((julianday(coalesce(g.occurred_at, :now)) - julianday(until)) * 86400)
FROM proven p LEFT JOIN known q ON q.sequence = asked LEFT JOIN known g ON g.sequence = gone
WHERE julianday(coalesce(g.occurred_at, :now)) - julianday(until) > 15.0 / 1440 + 1e-7
    AND (gone NOT NULL OR asked NOT NULL OR NOT EXISTS (SELECT 1 FROM known k WHERE k.event = 'rotation_completed'
        AND json_extract(k.details, '$.rotation_id') = p.rotation))
ORDER BY coalesce(gone, 1e9), told;

-- sign-in codes
SELECT DISTINCT json_extract(details, '$.code') FROM known
WHERE event LIKE 'sign%' AND json_extract(details, '$.code') NOT NULL;

-- expired before consumers got a new value
/* Until when the old PAT was valid is what the last event before says that is about it: its mint, by its id, or what
   names it as the one in use. */
WITH begins AS (SELECT subject, sequence FROM known WHERE event IN ('overlap_started', 'pat_created', 'pat_adopted')),
told AS (
    SELECT *, coalesce(json_extract(details, '$.valid_to'), json_extract(details, '$.expires_at')) AS until FROM known
    WHERE event IN ('pat_minted', 'pat_drifted', 'expiry_foreseen')),
replaced AS (
    SELECT s.*, json_extract(p.details, '$.predecessor_id') AS old, (
        SELECT max(sequence) FROM begins b WHERE b.subject = s.subject AND b.sequence < s.sequence) AS since
    FROM known s JOIN known p ON p.event = 'rotation_planned'
        AND json_extract(p.details, '$.rotation_id') = json_extract(s.details, '$.rotation_id')
    WHERE s.event = 'overlap_started')
SELECT r.subject || ': ' || old, strftime('%Y-%m-%d %H:%M:%S', until), r.at, t.sequence || ', ' || r.sequence,
    (julianday(r.occurred_at) - julianday(until)) * 86400
FROM replaced r JOIN told t ON t.sequence = (
    SELECT max(x.sequence) FROM told x WHERE x.sequence < r.sequence AND CASE x.event WHEN 'pat_minted' THEN x.pat = old
        ELSE x.subject = r.subject AND x.sequence > since END)
WHERE julianday(r.occurred_at) > julianday(until) ORDER BY until;

-- standing breaches
/* What is too old is so since it is managed, if it was that before. */
SELECT CASE WHEN ends <= :now THEN 'expired' WHEN display_name LIKE '%-manual'
        THEN 'older than the policy allows; a person must replace it' ELSE 'older than the policy allows' END, name,
    CASE WHEN ends <= :now THEN strftime('%Y-%m-%dT%H:%M:%f', ends) || '+00:00'
        WHEN julianday(k.occurred_at) > due THEN substr(k.occurred_at, 1, 19) || '+00:00'
        ELSE strftime('%Y-%m-%dT%H:%M:%f', due) || '+00:00' END
FROM record JOIN known k ON k.sequence = managed WHERE ends <= :now OR (NOT all_organizations AND due <= julianday(:now))
UNION ALL SELECT 'lives longer than the guardrails allow',
    display_name || ': ' || authorization_id || ' (nobody manages it)',
    strftime('%Y-%m-%dT%H:%M:%f', valid_from) || '+00:00'
FROM untracked_pat WHERE julianday(valid_to) - julianday(valid_from) > 80
    AND authorization_id NOT IN (SELECT authorization_id FROM managed_pat WHERE authorization_id NOT NULL)
    AND authorization_id NOT IN (SELECT new_authorization_id FROM rotation WHERE new_authorization_id NOT NULL);

-- answers
SELECT (SELECT count(*) FROM managed_pat) AS pats,
    (SELECT count(DISTINCT json_extract(details, '$.sha256')) FROM known WHERE event = 'policy_changed') AS policies,
    (SELECT count(*) FROM record WHERE scope = 'app_token') AS full,
    (SELECT count(*) FROM record WHERE all_organizations) AS wide,
    (SELECT max(reach) FROM record) AS reach,
    (SELECT name FROM record WHERE ends > :now ORDER BY ends LIMIT 1) AS next,
    (SELECT min(rotated) FROM record) AS oldest,
    (SELECT count(*) FROM record WHERE rotated IS NULL) AS never,
    sum(event = 'sign_in_completed') AS completed, sum(event = 'sign_in_refused') AS refused,
    sum(event = 'sign_in_lapsed') AS lapsed, sum(event = 'sign_in_restored') AS restored,
    (SELECT count(*) FROM by_hand) AS by_hand,
    (SELECT count(*) FROM by_hand b JOIN known k ON k.sequence = b.number WHERE k.reason IS NULL) AS silent,
    sum(event = 'pat_revoked') AS gone,
    min(CASE WHEN event = 'pat_revoked' THEN sequence END) AS first_gone,
    max(CASE WHEN event = 'pat_revoked' THEN sequence END) AS last_gone,
    count(*) AS events, (SELECT count(*) FROM checkpoint) AS checkpoints,
    count(*) - (SELECT max(size) FROM checkpoint) AS uncovered, sum(event = 'gap_accepted') AS gaps
FROM known;

-- totals
SELECT count(*) AS events,
    (SELECT at FROM known WHERE sequence = 1) AS first,
    (SELECT count(*) FROM managed_pat) AS pats,
    (SELECT count(*) FROM record WHERE ends <= :now) AS expired,
    (SELECT count(*) FROM record WHERE NOT all_organizations AND ends > :now AND due <= julianday(:now)) AS late,
    sum(event = 'rotation_completed') AS completed,
    count(DISTINCT CASE WHEN event IN ('rotation_failed', 'rotation_blocked', 'rotation_frozen', 'rotation_abandoned')
        THEN subject END) AS failed,
    sum(event = 'pat_revoked') AS revoked,
    sum(event = 'log_anchored') AS anchored,
    sum(event IN ('outside_change_found', 'leak_reported')) AS "foreign",
    (SELECT count(*) FROM pending_revocation) AS pending,
    (SELECT count(*) FROM by_hand) AS by_hand,
    (SELECT count(*) FROM checkpoint) AS checkpoints,
    (SELECT max(size) FROM checkpoint) AS sealed,
    (SELECT max(size) FROM checkpoint WHERE signature NOT NULL) AS signed,
    (SELECT strftime('%Y-%m-%d %H:%M:%S', max(made_at)) FROM checkpoint) AS sealed_at,
    (SELECT head FROM checkpoint ORDER BY size DESC LIMIT 1) AS head,
    (SELECT root FROM checkpoint ORDER BY size DESC LIMIT 1) AS root
FROM known;

-- silence
/* From the latest event before, which is not always the one before: PATs are rotated side by side. */
SELECT begins, ends, (SELECT max(sequence) FROM audit_event WHERE occurred_at = begins AND sequence < coalesce(before, 1e9)),
    before FROM (
    SELECT occurred_at AS ends, sequence AS before,
        max(occurred_at) OVER (ORDER BY sequence ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS begins
    FROM audit_event
    UNION ALL SELECT :now, NULL, max(occurred_at) FROM audit_event)
WHERE begins NOT NULL ORDER BY julianday(ends) - julianday(begins) DESC LIMIT 1;

-- wrong clocks
/* From the doubt, put right by what it says itself, to what ended it: in seconds. */
SELECT d.sequence, d.seconds, round((julianday(e.occurred_at) - julianday(d.occurred_at)) * 86400 - d.seconds)
FROM (SELECT *, json_extract(details, '$.seconds') AS seconds FROM known WHERE event = 'clock_doubted') d
    JOIN known e ON e.sequence = (SELECT min(sequence) FROM known c
        WHERE c.event = 'clock_confirmed' AND c.subject = d.subject AND c.sequence > d.sequence)
ORDER BY d.sequence;

-- unanswered
/* PATs proven gone that were requested to be revoked, without an answer that a request was accepted. */
SELECT count(*) FROM known g WHERE event = 'pat_revoked'
    AND EXISTS (SELECT 1 FROM known q WHERE q.event = 'revoke_started' AND q.pat = g.pat)
    AND NOT EXISTS (SELECT 1 FROM known q WHERE q.event = 'revocation_requested' AND q.pat = g.pat);

-- unseen
/* PATs proven gone that no answer named: lost ones by their rotation, late ones by the oldest request that is possible:
   of a rotation of which no PAT is known, and whose PAT would still be valid. */
WITH begun AS (
    SELECT g.subject, g.pat, g.sequence AS gone, s.sequence AS noticed, json_extract(s.details, '$.why') AS why,
        json_extract(s.details, '$.rotation_id') AS rotation, s.occurred_at
    FROM known g JOIN known s ON s.sequence = (
        SELECT min(sequence) FROM known f WHERE f.event = 'revoke_started' AND f.pat = g.pat)
    WHERE g.event = 'pat_revoked'),
asked AS (
    SELECT sequence, subject, json_extract(details, '$.rotation_id') AS rotation,
        json_extract(details, '$.planned_valid_to') AS until FROM known m WHERE event = 'mint_started'
        AND NOT EXISTS (SELECT 1 FROM known a WHERE a.event IN ('pat_minted', 'pat_created')
            AND json_extract(a.details, '$.rotation_id') = json_extract(m.details, '$.rotation_id')))
SELECT b.subject, b.pat, why = 'late', CASE WHEN why = 'late' THEN (
        SELECT count(*) FROM asked a WHERE a.subject = b.subject AND a.sequence < noticed
            AND julianday(until) >= julianday(b.occurred_at)) ELSE 1 END,
    (SELECT max(a.sequence) FROM asked a WHERE a.subject = b.subject AND a.sequence < noticed
        AND (why = 'late' OR a.rotation = b.rotation)), noticed, gone
FROM begun b WHERE why = 'late' OR EXISTS (SELECT 1 FROM asked a WHERE a.rotation = b.rotation) ORDER BY gone;

-- unread ids
/* What a list of ids, parted by commas, names. */
WITH RECURSIVE parts (sequence, subject, at, id, rest) AS (
    SELECT sequence, subject, at, '', json_extract(details, '$.authorization_ids') || ', ' FROM known
    WHERE event = 'listing_damaged'
    UNION ALL SELECT sequence, subject, at, substr(rest, 1, instr(rest, ', ') - 1), substr(rest, instr(rest, ', ') + 2)
    FROM parts WHERE rest <> '')
SELECT id, subject, count(*), min(at), min(sequence), max(at), max(sequence) FROM parts WHERE id <> ''
GROUP BY id, subject ORDER BY id, subject;

-- late
/* The last rotation of each old PAT that began more than a day after it was due, or after the last change of the policy,
   or of what is known of the PAT, if that came later. */
WITH used AS (
    SELECT sequence, json_extract(details, '$.sha256') AS digest,
        lag(json_extract(details, '$.sha256')) OVER (ORDER BY sequence) AS before
    FROM known WHERE event = 'policy_changed'),
change AS (
    SELECT sequence, NULL AS subject FROM used WHERE digest IS NOT before
    UNION ALL SELECT sequence, subject FROM known WHERE event IN ('pat_adopted', 'pat_taken_over', 'pat_created',
        'pat_updated', 'pat_moved', 'pat_drifted', 'inventory_rebuilt')),
begun AS (
    SELECT p.*, json_extract(p.details, '$.predecessor_id') AS old, json_extract(p.details, '$.due_at') AS due, (
        SELECT max(c.sequence) FROM change c JOIN known k USING (sequence) WHERE c.sequence < p.sequence
            AND coalesce(c.subject, p.subject) = p.subject
            AND julianday(k.occurred_at) > julianday(json_extract(p.details, '$.due_at'))) AS changed
    FROM known p WHERE event = 'rotation_planned' AND json_extract(p.details, '$.due_at') NOT NULL),
late AS (
    SELECT b.*, coalesce(c.occurred_at, due) AS since FROM begun b LEFT JOIN known c ON c.sequence = changed
    WHERE julianday(b.occurred_at) - julianday(coalesce(c.occurred_at, due)) > 1 + 1e-7)
SELECT subject || ': ' || old, strftime('%Y-%m-%d %H:%M:%S', since), at, coalesce(changed || ', ', '') || sequence,
    (julianday(occurred_at) - julianday(since)) * 86400
FROM late l WHERE sequence = (SELECT max(sequence) FROM late o WHERE o.old = l.old) ORDER BY since;

-- undated
SELECT count(*) FROM known WHERE event = 'rotation_planned' AND json_type(details, '$.due_at') IS NULL;

-- late seal
/* The signed checkpoint that was made the longest after the first event that no earlier signed one covers. */
SELECT size, first, seconds FROM (
    SELECT size, first, CAST((julianday(made_at) - julianday(occurred_at)) * 86400 + 1e-4 AS INTEGER) AS seconds FROM (
        SELECT size, made_at, coalesce(lag(size) OVER (ORDER BY size), 0) + 1 AS first FROM checkpoint
        WHERE signature NOT NULL)
    JOIN known ON sequence = first)
WHERE seconds > 25 * 3600 ORDER BY seconds DESC, size LIMIT 1;

-- unread entries
/* Entries of Azure DevOps' own log that the newest comparison of an organization could not read. */
SELECT organization, unreadable FROM (
    SELECT substr(subject, instr(subject, '/') + 1) AS organization, max(sequence),
        json_extract(details, '$.unreadable') AS unreadable
    FROM known WHERE event = 'service_log_compared' GROUP BY 1)
WHERE unreadable > 0 ORDER BY organization;
