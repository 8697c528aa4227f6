-- Nexmark query 3, local item suggestion: who sells in these states, in category 10?
SELECT p.name, p.city, p.state, a.id
FROM auction AS a
JOIN person AS p ON a.seller = p.id
WHERE a.category = 10 AND p.state IN ('or', 'id', 'ca')
EMIT CHANGES;
